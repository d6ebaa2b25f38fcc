# Claude Code: an answer that a schema enforces, then two turns with a call of its own tool. The names of files
# that the tool may read are bounded too, since the model does not end a text that may be long.
set -eu
export ANTHROPIC_BASE_URL=$BASE_URL ANTHROPIC_AUTH_TOKEN=none ANTHROPIC_MODEL=smollm2 \
  ANTHROPIC_DEFAULT_HAIKU_MODEL=smollm2 CLAUDE_CODE_MAX_OUTPUT_TOKENS=256 CLAUDE_CODE_ATTRIBUTION_HEADER=0 \
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1
ask() {
  claude -p "$1" --output-format json --system-prompt 'You are a helper.' --tools "$2" --max-turns 2 </dev/null || true
}
CLAUDE_CODE_EXTRA_BODY='{"output_format": {"type": "json_schema", "schema": {"enum": ["red", "blue"]}}}' \
  ask 'Name a colour.' '' > answer.json
CLAUDE_CODE_EXTRA_BODY='{"tool_choice": {"type": "tool", "name": "Read"}, "tools": [{"name": "Read",
  "input_schema": {"type": "object", "required": ["file_path"],
    "properties": {"file_path": {"enum": ["'$PWD/answer.json'"]}}}}]}' ask 'Read a file.' Read > called.json
cat answer.json called.json
python - <<'PYTHON'
import json

answer, called = (json.load(open(name)) for name in ("answer.json", "called.json"))
assert not answer["is_error"], answer
assert json.loads(answer["result"]) in ("red", "blue"), answer
# The forced calls end only with the last turn; an error of the API would be another reason.
assert called["terminal_reason"] == "max_turns", called
assert called["stop_reason"] == "tool_use", called
assert not called["permission_denials"], called
PYTHON
