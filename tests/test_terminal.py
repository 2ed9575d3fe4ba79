"""What others wrote can neither move a terminal's cursor nor give a CI's runner a command."""

from __future__ import annotations

import io
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from evalsuite.cli import main
from evalsuite.progress import make_progress
from evalsuite.terminal import harmless, one_line

HOSTILE = "bad\n##[error]pwn\n  ::set-output name=x::y\x1b[31mred\u202e\r::warning::z"


def is_harmless(text: str) -> bool:
    lines = [line.strip() for line in text.splitlines()]
    return "##[" not in text and not any(line.startswith("::") for line in lines)


@pytest.mark.parametrize("text", [HOSTILE, "::error::x", "\u2028::error::x", "a\n\t::error::x"])
def test_commands_and_controls_are_broken(text: str) -> None:
    for safe in (one_line(text), harmless(text)):
        assert not any(ord(c) < 32 and c != "\n" for c in safe)
        assert "\u202e" not in safe
    assert "\n" not in one_line(text)
    assert is_harmless(harmless(text))


def test_our_own_lines_stay_as_they_are() -> None:
    text = "demo-small: 1,000 parameters\n  requests  3 to score\n  naïve “größer” a::b ## [x]"
    assert harmless(text) == text


def test_a_note_is_harmless() -> None:
    stream = io.StringIO()
    make_progress("plain", stream).note(HOSTILE)
    assert is_harmless(stream.getvalue())
    assert "\x1b" not in stream.getvalue()


class _Refusing(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        import json

        body = json.dumps({"error": {"message": HOSTILE}}).encode()
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_an_error_with_a_servers_words_is_one_harmless_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = []
    for name in "xy":
        answers.append(tmp_path / f"{name}.jsonl")
        answers[-1].write_text(
            f'{{"question_id": 1, "model_id": "{name}", "choices": [{{"turns": ["{name}"]}}]}}'
        )
    questions = tmp_path / "q.jsonl"
    questions.write_text('{"question_id": 1, "category": "c", "turns": ["?"]}')
    server = HTTPServer(("127.0.0.1", 0), _Refusing)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        judge = f"openai:j@http://127.0.0.1:{server.server_address[1]}/v1"
        given = ["--judge-questions", str(questions), "--judge-answers", *map(str, answers)]
        assert main(["run", *given, "--judge", judge, "--output", str(tmp_path / "run")]) == 2
    finally:
        server.shutdown()
        server.server_close()
    said = capsys.readouterr().err
    assert "refused with 401 (bad # #[error]pwn" in said
    assert is_harmless(said)
    assert "\x1b" not in said
    assert len(said.splitlines()) == 1


def test_a_hostile_flag_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--engine", "x\n##[error]y\x1b[31m"])
    said = capsys.readouterr().err
    assert is_harmless(said)
    assert "\x1b" not in said
