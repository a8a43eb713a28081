"""Tables, marks and the picture."""

import json
from xml.etree import ElementTree as ET

import pytest

from benchmarks import render
from benchmarks.contest import AGAIN, BASE, Row, Turn, table
from benchmarks.load import Load
from benchmarks.processes import Cpu

MACHINE = {
    "date": "2026-01-02T03:04:05+00:00",
    "commit": "0123456789ab",
    "processor": "A <processor> & more",
    "cores": 2,
    "kernel": "6.1",
    "versions": {"python": "3.11.7", "nginx": "1.22.1"},
}


def rows(foreign: float = 0.0):
    def turn(cpu: float) -> Turn:
        load = Load(1000, 1.0, 0, 0, 0, 0.5, {"p50": 100.0, "p99": 1400.0})
        return Turn(load, Cpu(cpu / 4, cpu * 3 / 4), Cpu(0.2, 0.2), 1000, foreign)

    cpus = {BASE: 0.02, AGAIN: 0.019, "fastgate": 0.021}
    return table([Row(label, label.partition(" ")[0], [turn(cpu)]) for label, cpu in cpus.items()], 32)


def plain(foreign: float = 0.0) -> render.Result:
    fixed = [{**entry, "wanted_rate": 500} for entry in rows(foreign)]
    return {
        "lane": "plain",
        "command": "python -m benchmarks plain",
        "machine": MACHINE,
        "rows": rows(foreign),
        "fixed_rate_rows": fixed,
        "skipped": {"caddy": "caddy is not installed\nsecond line"},
    }


@pytest.mark.parametrize(
    ("value", "text"), [(18.04, "18.0"), (1.234, "1.23"), (64379.54, "64,380"), (0.0, "0.00"), (100, "100")]
)
def test_numbers(value, text):
    assert render.number(value) == text


def test_the_plain_table():
    text = render.markdown(json.loads(json.dumps(plain())))
    assert "| nginx 1.22.1 | 20.0 (20.0–20.0) | 5.00 + 15.0 | 1.00 (1.00–1.00) | 1,000 |" in text
    assert "| fastgate | 21.0 (21.0–21.0) | 5.25 + 15.8 | 1.05 (1.05–1.05) | 1,000 |" in text
    assert "Skipped: caddy: caddy is not installed." in text
    assert "commit 0123456789ab" in text
    assert "Disturbed" not in text


def test_the_table_with_a_log():
    result = {
        **plain(),
        "lane": "log",
        "title": "Access log on",
        "options": {"before": "0123456789ab"},
        "changes": [{"label": "fastgate, JSON", "ratio": {"median": 0.9, "min": 0.8, "max": 1.0}}],
        "instructions": [{"features": ["log_json"], "before": {"access log": 2000.0}, "now": {"access log": 900.0}}],
    }
    text = render.markdown(json.loads(json.dumps(result)))
    assert "CPU per request ÷ that of 0123456789ab, round by round: fastgate, JSON 0.90 (0.80–1.00)." in text
    assert "| part | log json, before | log json |" in text
    assert "| access log | 2,000 | 900 |" in text


def test_the_cost_of_each_kind_of_request():
    counted = {"instructions": {"median": 22850.0, "min": 22840.0, "max": 22860.0}, "objects": 7.0}
    result = {
        **plain(),
        "lane": "cost",
        "title": "What each kind of request costs",
        "options": {"before": "0123456789ab"},
        "rows": [{"features": ["post", "retry"], "now": counted, "before": counted, "change": 0.0}],
    }
    text = render.markdown(json.loads(json.dumps(result)))
    assert "| post + retry | 22,850 (22,840–22,860) | 7.0 | 22,850 (22,840–22,860) | +0.00% | 7.0 |" in text
    result["options"]["before"] = ""
    assert "| post + retry | 22,850 (22,840–22,860) | 7.0 |" in render.markdown(result)


def test_a_disturbed_run_says_so():
    assert "**Disturbed**: other processes had 40% of a core" in render.markdown(plain(0.4))


def test_wrong_answers_are_summed_over_all_tables():
    result = plain()
    result["rows"][0]["wrong"] = 2
    result["fixed_rate_rows"][2]["wrong"] = 3
    assert render.wrong_answers(result) == 5


def test_text_goes_between_its_marks_only():
    document = "a\n<!-- plain:begin -->\nold\n<!-- plain:end -->\nb\n<!-- idle:begin -->\n<!-- idle:end -->\n"
    changed = render.insert(document, "plain", r"new \1 text")
    assert changed == document.replace("old\n", "\nnew \\1 text\n\n")
    assert render.insert(changed, "plain", r"new \1 text") == changed
    assert render.insert("no marks", "plain", "x") == "no marks"


def test_the_picture_is_well_formed_and_has_a_bar_for_each_row():
    picture = ET.fromstring(render.picture(plain()))
    bars = [element for element in picture.iter() if element.tag.endswith("rect") and element.get("height") == "20"]
    assert len(bars) == 2 * 3
    assert any("A <processor> & more" in (element.text or "") for element in picture.iter())


def test_publishing(tmp_path):
    (tmp_path / "plain.json").write_text(json.dumps(plain()))
    (tmp_path / "foreign.json").write_text('{"lane": "another"}')
    document = tmp_path / "README.md"
    document.write_text("".join(f"<!-- {name}:begin -->\n<!-- {name}:end -->\n" for name in ("plain", "benchmarks")))
    render.publish(tmp_path, [document, tmp_path / "absent.md"])
    detailed, summary = document.read_text().split("<!-- plain:end -->")
    assert detailed.count("| fastgate | 21.0") == 1
    assert "Open loop" in detailed
    assert summary.count("| fastgate | 21.0") == 1
    assert "Open loop" not in summary
    assert (tmp_path / "plain.svg").read_text().startswith("<svg")


def test_one_line_for_each_other_lane():
    spread = {"median": 0.95, "min": 0.9, "max": 1.0}
    idle = [{"kind": "nginx", "bytes_each_pss": 500.0}, {"kind": "fastgate", "bytes_each_pss": 975.4}]
    bodies = [{"kind": "fastgate", "rate_ratio": spread}]
    sets = [{"set": "github", "routes": 203, "rows": [{"label": "fastgate", "speedup": spread}]}]
    text = render.summary(
        {
            "idle": {"machine": MACHINE, "command": "c", "rows": idle, "tls_rows": []},
            "bodies": {"down_rows": bodies, "up_rows": []},
            "start": {"rows": []},
            "callgrind": {"instructions": 23615.4},
            "router": {"sets": sets},
            "connect": {"rows": []},
            "many": {
                "cases": [
                    {
                        "clients": 1024,
                        "targets": 64,
                        "workers": 2,
                        "rows": [
                            {"label": "nginx", "wrong": 0, "cpu_ratio": spread},
                            {"label": "fastgate", "wrong": 0, "cpu_ratio": spread},
                        ],
                    }
                ]
            },
            "reload": {"settings": {"reloads": 50, "routes": 10000}, "rows": [{"wrong": 0, "p99_ratio": spread}]},
        }
    )
    assert "- An idle keep-alive connection: 975 bytes (with TLS: not measured)." in text
    assert "- Bodies of 1 MiB: 0.95 (0.90–1.00) × nginx in throughput down, – × up." in text
    assert "- Instructions per request that repeats its fields, without the kernel: 23,615." in text
    assert "203 github routes: 0.95 (0.90–1.00) × as fast as falcon's." in text
    assert "defaults: 0.95 (0.90–1.00) × nginx with 1,024 clients, 64 targets and 2 workers; 0 requests" in text
    assert "- 50 reloads of 10,000 routes under load: 0 wrong answers, p99 0.95 (0.90–1.00) × what" in text
