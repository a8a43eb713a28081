"""Which tests show which rule of the gateway's HTTP/1.1 behaviour.

Three tables as in the specification: what is done with requests, what is forwarded, what is done when the upstream
fails. A row names the tests that would fail if its rule were not kept; ``test_rows.py`` checks that all of them exist,
and that no wire test is missing here.
"""

HEAD = "test_requests_head"
FRAMING = "test_requests_framing"
PATHS = "test_requests_paths"
FLOW = "test_requests_flow"
FIELDS = "test_forwarded_fields"
HOPS = "test_hop_by_hop"
RESPONSES = "test_responses"
UPGRADES = "test_upgrades"
LISTENERS = "test_listeners"
FAILURES = "test_upstream_failures"
ERRORS = "test_errors"
POOL = "test_pool"
GONE = "test_client_gone"
PRESSURE = "test_back_pressure"
OWN = "test_connection_auth"
HALF = "test_half_close"
TRAILERS = "test_trailers"

REQUESTS = {
    "no Host, two Hosts, invalid Host (1.1): 400": [(HEAD, "test_host", "test_host_that_is_valid")],
    "Content-Length with Transfer-Encoding; two Content-Length, even equal; list; signs, spaces, hex, …: 400, close": [
        (FRAMING, "test_content_length", "test_content_length_of_18_digits_is_a_length"),
        (FRAMING, "test_lengths_are_forwarded_as_lengths"),
    ],
    "Transfer-Encoding other than exactly one chunked: 501 for an unknown coding, else 400; in HTTP/1.0: 400": [
        (FRAMING, "test_transfer_encoding", "test_transfer_encoding_with_no_other_reading"),
        (FRAMING, "test_transfer_encoding_in_http_1_0", "test_chunked_without_case"),
    ],
    "bare LF or bare CR as line end, in head, chunk line, extension or trailer: 400, as soon as the byte is seen": [
        (HEAD, "test_bare_line_end_in_head_is_refused_as_soon_as_it_is_seen"),
        (HEAD, "test_bare_line_end_in_head_with_all_that_follows"),
        (FRAMING, "test_bare_line_end_in_body_is_refused_as_soon_as_it_is_seen"),
        (FRAMING, "test_bare_line_end_in_body_with_all_that_follows"),
    ],
    "anything but one CRLF before a request line: 400": [
        (HEAD, "test_anything_before_the_request_line", "test_one_crlf_before_the_request_line_is_accepted"),
    ],
    "space before colon, obs-fold, NUL or control character in a value, empty field name: 400": [
        (HEAD, "test_malformed_field", "test_malformed_first_field", "test_fields_that_are_fine_pass_unchanged"),
    ],
    "chunk size not hex, over 16 digits or 2^63-1, chunk line over 256 bytes, bad terminator: 400, never 502": [
        (FRAMING, "test_bad_chunk", "test_malformed_trailer_is_refused_or_dropped", "test_chunk_sizes_that_are_fine"),
    ],
    "chunk extensions: dropped; trailers: dropped, at most max_header_bytes": [
        (FRAMING, "test_chunk_extensions_and_trailers_are_dropped", "test_trailers_are_bounded"),
    ],
    "version 2.0, 0.9, none, another protocol's name: 505 (400 where there is no version); 1.2 to 1.9 read as 1.1": [
        (HEAD, "test_version", "test_version_that_is_malformed", "test_versions_read_as_1_1"),
    ],
    "method not a token: 400; unknown and lower-case tokens are forwarded as they are, never matched as GET": [
        (HEAD, "test_method_that_is_not_a_token", "test_unknown_and_lower_case_methods_are_forwarded_as_they_are"),
        (HEAD, "test_lower_case_methods_are_never_matched_as_get"),
    ],
    "target with fragment, backslash, space, control or non-ASCII; userinfo or a scheme other than http(s): 400": [
        (HEAD, "test_target"),
    ],
    "absolute-form target: host and path come from the target": [
        (HEAD, "test_absolute_form", "test_absolute_form_is_routed_by_its_own_host"),
    ],
    "CONNECT: 405; TRACE 405 unless a route names it; OPTIONS * 204 with Allow": [
        (HEAD, "test_connect", "test_trace", "test_trace_that_a_route_names"),
        (HEAD, "test_options_star", "test_options_of_a_path_is_an_ordinary_request"),
    ],
    "path with //, dot segments, percent-encodings: one spelling, matched and forwarded, or 400": [
        (PATHS, "test_path_is_normalised_and_forwarded_so", "test_path_that_is_refused"),
        (PATHS, "test_slashes_stay_without_merge_slashes", "test_no_spelling_goes_around_a_route"),
        (PATHS, "test_path_transforms", "test_no_route"),
        (PATHS, "test_method_of_no_route", "test_refused_path_closes_nothing_upstream"),
    ],
    "header names with anything but letters, digits and -: dropped by default (field_names)": [
        (HEAD, "test_field_names", "test_field_names_reject", "test_no_spelling_of_the_request_id_passes"),
    ],
    "Proxy: never forwarded": [
        (HEAD, "test_proxy_is_never_forwarded"),
    ],
    "head over max_header_bytes or max_headers: 431; target over 8 KB: 414; both before the head is complete": [
        (HEAD, "test_head_too_large", "test_head_just_small_enough", "test_default_limits"),
        (HEAD, "test_target_too_long", "test_target_too_long_with_no_end"),
    ],
    "body over max_body: 413: before reading when Content-Length says so, else as soon as it is passed": [
        (FRAMING, "test_content_length_over_max_body", "test_content_length_over_max_body_by_far"),
        (FRAMING, "test_chunked_over_max_body", "test_chunked_at_max_body"),
        (FRAMING, "test_the_routes_own_max_body_wins", "test_default_max_body"),
    ],
    "answered before the body was read: at most 64 KB dropped and the connection kept, else a lingering close": [
        (FRAMING, "test_answered_before_a_small_body_was_read", "test_answered_before_a_large_body_was_read"),
        (FRAMING, "test_lingering_close_loses_no_answer", "test_the_answer_to_a_large_upload_arrives"),
        (FRAMING, "test_chunked_body_answered_before_it_was_read"),
        (FRAMING, "test_nothing_of_a_dropped_body_is_taken_for_a_request"),
    ],
    "Expect: 100-continue: answered here and removed upstream; a refusal goes out without it; other expectations 417": [
        (FLOW, "test_expect_is_answered_here_and_removed_upstream", "test_expect_with_a_chunked_body"),
        (FLOW, "test_expect_with_the_body_already_there", "test_a_refusal_goes_out_without_100"),
        (FLOW, "test_other_expectations", "test_expect_of_a_1_0_client_gets_no_100"),
    ],
    "pipelined requests: answered in order, one exchange at a time, at most 64 KB of later bytes kept": [
        (FLOW, "test_pipelined_requests_are_answered_in_order", "test_pipelined_requests_are_one_exchange_at_a_time"),
        (FLOW, "test_many_pipelined_requests", "test_many_pipelined_requests_that_are_answered_here"),
        (FLOW, "test_a_refused_request_ends_the_pipeline", "test_pipelined_bytes_are_bounded"),
        (PRESSURE, "test_a_client_that_pipelines_and_takes_nothing_is_not_answered_further"),
    ],
    "head not complete in header_timeout, body stalled for body_timeout: 408, close": [
        (FLOW, "test_head_timeout", "test_head_timeout_counts_from_the_first_byte"),
        (FLOW, "test_head_timeout_of_a_second_request"),
        (FLOW, "test_body_timeout", "test_body_timeout_is_between_two_reads", "test_a_slow_answer_is_no_stalled_body"),
    ],
    "HTTP/1.0: served; close unless keep-alive is asked; never sent chunked or 1xx": [
        (HEAD, "test_http_1_0", "test_connection_close_is_obeyed"),
        (RESPONSES, "test_chunked_response_for_a_1_0_client", "test_interim_responses_never_go_to_1_0_clients"),
        (RESPONSES, "test_chunked_response_for_a_1_0_client_that_asked_for_keep_alive"),
    ],
    "limits of the listener: keepalive, max_connections, health_path": [
        (FLOW, "test_idle_connection_is_closed_after_keepalive", "test_max_connections", "test_health_path"),
        (FLOW, "test_the_first_request_is_due_within_the_time_of_a_head"),
    ],
}

FORWARDED = {
    "trailers: of responses to clients that sent TE: trailers, of requests where the route says so; else dropped": [
        (TRAILERS, "test_trailers_of_a_response", "test_trailers_of_a_response_byte_by_byte"),
        (TRAILERS, "test_clients_that_did_not_ask_get_no_trailers", "test_how_a_client_asks"),
        (TRAILERS, "test_head_and_304_have_no_trailers", "test_an_own_answer_has_no_trailers"),
        (TRAILERS, "test_trailers_of_a_request", "test_trailers_of_a_request_without_the_key"),
        (TRAILERS, "test_a_buffered_request_takes_its_trailers_along"),
        (TRAILERS, "test_a_mirror_gets_the_trailers_of_its_request"),
        (TRAILERS, "test_trailers_belong_to_the_answer_that_the_client_gets"),
    ],
    "trailers: never what RFC 9110 section 6.5.1 forbids, what a head may not have, or more than a head may have": [
        (TRAILERS, "test_what_never_stands_behind_a_body", "test_digests_stand_behind_the_body_that_they_are_of"),
        (TRAILERS, "test_a_filter_keeps_trailers_but_digests"),
        (TRAILERS, "test_what_a_route_edits_cannot_be_said_behind_the_body"),
        (TRAILERS, "test_odd_names_behind_a_body", "test_odd_names_may_be_refused"),
        (TRAILERS, "test_fields_that_connection_names_end_here_behind_the_body_too"),
        (TRAILERS, "test_more_fields_than_a_head_may_have"),
        (TRAILERS, "test_a_response_with_more_fields_behind_it_than_a_head_may_have"),
    ],
    "a body belongs to the request that its fields frame": [
        (FRAMING, "test_chunked_bodies_are_framed_anew", "test_a_body_belongs_to_any_method"),
    ],
    "426 keeps Upgrade and 407 Proxy-Authenticate; Max-Forwards of OPTIONS and TRACE is counted down": [
        (HOPS, "test_a_426_says_what_to_upgrade_to", "test_a_426_without_it_stays_without"),
        (HOPS, "test_a_426_to_a_client_of_http_1_0", "test_other_responses_have_no_upgrade"),
        (HOPS, "test_a_407_says_how_to_authenticate", "test_answers_of_ones_own"),
        (HOPS, "test_an_upgrade_on_another_answer_is_an_error_of_the_configuration"),
        (HOPS, "test_max_forwards_is_counted_down", "test_a_request_that_may_go_no_further_is_answered_here"),
        (HOPS, "test_other_methods_do_not_count"),
    ],
    "hop-by-hop fields are removed in both directions; what Connection must not name: 400": [
        (FIELDS, "test_hop_by_hop_fields_of_requests", "test_fields_that_connection_names_in_requests"),
        (FIELDS, "test_connection_must_not_name_what_policies_depend_on", "test_hop_by_hop_fields_of_responses"),
        (FIELDS, "test_the_exact_bytes", "test_response_fields_keep_order_and_spelling"),
        (FIELDS, "test_keep_alive_on_both_sides"),
    ],
    "upgrades: only websocket and what the route lists, on a GET of HTTP/1.1 without a body, one value; h2c never": [
        (UPGRADES, "test_tunnel", "test_on_every_other_request_upgrade_is_removed", "test_websocket_without_case"),
        (UPGRADES, "test_upgrades_that_the_route_lists", "test_h2c_cannot_be_listed"),
        (UPGRADES, "test_an_upgrade_that_is_declined", "test_bytes_sent_early_are_requests_once_it_is_declined"),
        (UPGRADES, "test_101_to_another_protocol", "test_websockets", "test_many_websockets_at_once"),
    ],
    "the tunnel begins when the 101 has been forwarded; back-pressure and an idle timeout": [
        (UPGRADES, "test_bytes_sent_early_wait_for_the_101", "test_the_tunnel_has_back_pressure"),
        (UPGRADES, "test_the_tunnel_is_closed_when_idle"),
        (UPGRADES, "test_the_client_ends_the_tunnel", "test_the_upstream_ends_the_tunnel"),
    ],
    "X-Forwarded-*, Forwarded, client IP, X-Request-Id, traceparent: believed from trusted peers only": [
        (FIELDS, "test_x_forwarded_from_untrusted_peers", "test_x_forwarded_from_trusted_peers"),
        (FIELDS, "test_x_forwarded_from_trusted_peers_in_several_fields", "test_client_ip"),
        (FIELDS, "test_forwarded", "test_forwarded_from_trusted_peers"),
        (FIELDS, "test_request_id_is_generated", "test_request_id_of_a_trusted_peer"),
        (FIELDS, "test_request_id_by_another_name_and_off", "test_request_id_off", "test_traceparent_is_passed_on"),
    ],
    "Via only when via = true; Host per host_header": [
        (FIELDS, "test_no_via_by_default", "test_via", "test_host_header", "test_a_1_0_request_without_host"),
    ],
    "header edits": [
        (FIELDS, "test_request_header_edits", "test_response_header_edits", "test_server_header"),
        (FIELDS, "test_edits_with_path_parameters", "test_no_parameter_can_split_a_head"),
        (FIELDS, "test_date_and_length_of_an_answer_of_our_own"),
    ],
    "interim responses are passed on, at most 8, never to 1.0 clients; 101 only for an upgrade that was asked for": [
        (RESPONSES, "test_interim_responses_are_passed_on_at_once", "test_interim_responses_in_pieces"),
        (RESPONSES, "test_eight_interim_responses", "test_more_than_eight_interim_responses"),
        (RESPONSES, "test_interim_response_with_hop_by_hop_fields", "test_101_that_nobody_asked_for"),
    ],
    "HEAD and 304: no body, Content-Length kept; 204 and 1xx: framing fields removed": [
        (RESPONSES, "test_head", "test_304", "test_204", "test_statuses_pass_as_they_are"),
    ],
    "a response that ends at close is sent chunked to 1.1 clients; complete at eof only, also under TLS": [
        (RESPONSES, "test_a_response_that_ends_at_close_is_sent_chunked"),
        (RESPONSES, "test_a_response_that_ends_at_close_for_a_1_0_client", "test_a_reset_is_no_end"),
        (RESPONSES, "test_the_end_under_tls"),
    ],
    "server-sent events and chunked bodies are never held back: each read is a write": [
        (RESPONSES, "test_events_are_never_held_back", "test_part_of_a_chunk_is_not_held_back"),
        (RESPONSES, "test_a_head_without_body_is_not_held_back", "test_chunked_responses", "test_answers_in_pieces"),
    ],
    "status outside 100-599 or a bad version: 502; a reason that is not visible ASCII is replaced": [
        (RESPONSES, "test_status_line", "test_reason_that_is_not_visible_ascii", "test_reason_that_is_fine"),
        (RESPONSES, "test_a_1_0_upstream"),
    ],
    "PROXY protocol: exactly the header is consumed; without one, or from an untrusted peer: closed": [
        (LISTENERS, "test_proxy_protocol", "test_without_a_proxy_header", "test_proxy_header_of_an_untrusted_peer"),
        (LISTENERS, "test_proxy_header_that_does_not_come", "test_a_silent_peer_does_not_hold_up_others"),
        (LISTENERS, "test_proxy_protocol_then_tls"),
        (LISTENERS, "test_the_time_of_a_head_begins_before_the_header_of_the_proxy_protocol"),
    ],
    "Unix sockets, IPv6 and names, on both sides": [
        (LISTENERS, "test_unix_socket_of_the_gateway", "test_unix_socket_of_the_upstream", "test_ipv6_on_both_sides"),
        (LISTENERS, "test_forwarded_quotes_ipv6", "test_several_addresses", "test_a_name_as_target"),
        (LISTENERS, "test_two_gateways_in_one_process"),
    ],
    "bodies stream with bounded memory": [
        (PRESSURE, "test_upload_to_a_slow_reader", "test_download_to_a_slow_reader"),
        (PRESSURE, "test_a_client_that_takes_nothing_meets_the_write_timeout"),
    ],
}

FAILED = {
    "no healthy target, queue full or timed out, name that does not resolve: 503 with Retry-After": [
        (FAILURES, "test_queue_full", "test_no_queue", "test_queue_timed_out", "test_name_that_does_not_resolve"),
        (FAILURES, "test_a_client_that_leaves_the_queue_is_not_served"),
    ],
    "cannot connect, TLS failure, reset or bad response before any byte of it: retry, else 502": [
        (FAILURES, "test_connection_refused", "test_connection_refused_tries_another_target", "test_connect_timeout"),
        (FAILURES, "test_tls_failure", "test_tls_certificate_that_nobody_vouches_for", "test_the_end_before_any_byte"),
    ],
    "no head in timeouts.read, total passed: 504": [
        (FAILURES, "test_no_head_in_time", "test_the_read_timeout_counts_from_the_sent_request"),
        (FAILURES, "test_total_passed", "test_total_passed_in_the_body"),
        (FAILURES, "test_idle_passed_in_the_body", "test_idle_counts_between_two_reads"),
    ],
    "cut in the middle of a body: chunked left unterminated, until close reset; a cut response never looks complete": [
        (FAILURES, "test_cut_in_the_body", "test_cut_in_a_body_that_ends_at_close_is_a_reset"),
    ],
    "bad framing in the response: 502, never retried; connection dropped": [
        (FAILURES, "test_bad_framing_of_a_response", "test_bad_chunk_of_a_response"),
        (FAILURES, "test_bad_chunk_of_a_response_after_good_ones", "test_a_response_head_that_is_too_large"),
        (RESPONSES, "test_bytes_after_a_response_are_not_anothers_answer"),
    ],
    "it answers before it has the whole body: forwarded, sending stops, the connection is not reused": [
        (FAILURES, "test_it_answers_before_it_has_the_whole_body"),
        (FAILURES, "test_an_early_answer_reaches_a_client_that_goes_on_sending"),
        (FAILURES, "test_an_early_answer_to_a_small_body_keeps_the_client"),
        (FAILURES, "test_an_early_answer_that_then_takes_the_body"),
    ],
    "client goes away: the upstream exchange is cancelled, counted as 499": [
        (GONE, "test_before_the_answer", "test_in_its_own_body", "test_in_its_own_head", "test_in_the_answer"),
        (GONE, "test_where_back_pressure_paused_reading", "test_while_its_upload_is_held_back"),
        (GONE, "test_while_connecting_and_queued", "test_at_any_moment_of_connecting"),
        (GONE, "test_counted_as_499", "test_the_next_pipelined_request_is_not_begun"),
    ],
    "retries: connect failures any method, another target; a stale pooled connection is replayed once if idempotent": [
        (FAILURES, "test_a_reset_is_retried_on_another_target", "test_a_reset_post_is_not_retried"),
        (POOL, "test_a_stale_pooled_connection_is_replayed", "test_a_buffered_body_is_replayed"),
        (POOL, "test_it_is_replayed_on_a_fresh_connection_only_once"),
        (POOL, "test_a_request_that_is_not_idempotent_is_not_replayed_once_written"),
        (POOL, "test_a_request_that_is_not_idempotent_finds_out_that_a_pooled_connection_is_closed"),
        (POOL, "test_nothing_is_replayed_once_a_byte_has_come", "test_a_pooled_connection_that_was_closed_meanwhile"),
        (POOL, "test_many_pooled_connections_reset_at_once"),
    ],
    "pool: idle_timeout; Keep-Alive: timeout=N sets N-1; limits": [
        (POOL, "test_connection_close_of_the_upstream_is_obeyed", "test_idle_timeout"),
        (POOL, "test_keep_alive_timeout_of_the_upstream"),
        (POOL, "test_keep_alive_timeout_of_one_second_is_not_pooled", "test_max_requests", "test_max_idle"),
        (POOL, "test_max_connections", "test_requests_that_wait_are_not_given_a_connection_that_has_ended"),
        (POOL, "test_targets_take_turns", "test_bytes_on_an_idle_connection_end_it"),
    ],
    "half_close = serve: a client that has sent its request whole and shut its sending side gets its answer": [
        (HALF, "test_a_client_that_shuts_its_sending_side_is_served", "test_answers_that_stream_reach_it"),
        (HALF, "test_every_request_that_came_whole_is_served", "test_answers_of_the_gateway_itself_are_all_sent"),
        (HALF, "test_what_follows_for_a_route_that_cancels_is_cancelled"),
        (HALF, "test_the_default_takes_it_for_one_that_has_left", "test_half_a_request_is_not_served"),
        (HALF, "test_one_that_leaves_after_it_has_shut_its_side_is_noticed"),
    ],
    "a connection on which a request carried NTLM or Negotiate is its client's alone and ends with it": [
        (OWN, "test_a_connection_that_a_client_has_authenticated_serves_no_other"),
        (OWN, "test_an_offer_anywhere_in_the_challenges_is_enough"),
        (OWN, "test_other_schemes_leave_connections_to_everybody"),
        (OWN, "test_credentials_bind_a_connection_that_was_pooled_before"),
        (OWN, "test_an_upstream_that_ends_such_a_connection_is_asked_on_another"),
        (OWN, "test_the_connection_stays_with_its_target_whatever_the_balancer_says"),
        (OWN, "test_it_outlives_the_idle_timeout_of_the_pool"),
    ],
    "errors are problem+json, HTML for a browser, no body to HEAD; none tells what is behind the gateway": [
        (ERRORS, "test_errors_are_problems", "test_error_for_a_browser", "test_no_body_to_head"),
        (ERRORS, "test_no_body_to_head_that_is_refused_before_it_is_read"),
        (ERRORS, "test_an_error_page_does_not_repeat_what_was_sent", "test_no_message_tells_of_what_is_behind"),
    ],
}

TABLES = {"Requests": REQUESTS, "What is forwarded": FORWARDED, "When the upstream fails": FAILED}
