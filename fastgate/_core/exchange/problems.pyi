from fastgate._core.exchange.exchange import Problems

class ProblemDetails(Problems):
    """JSON, as RFC 9457 has it, for every client."""

class HtmlPages(Problems):
    """A page for clients whose Accept asks for HTML, and nothing for others."""
