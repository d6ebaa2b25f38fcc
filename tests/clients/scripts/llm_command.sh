# llm: the model in its configuration, a prompt, and a schema.
set -eu
LLM_USER_PATH=$(mktemp -d)
export LLM_USER_PATH
cat > "$LLM_USER_PATH/extra-openai-models.yaml" <<YAML
- model_id: fleet
  model_name: smollm2
  api_base: $BASE_URL/v1
  supports_schema: true
YAML
export OPENAI_API_KEY=none
llm -m fleet -o temperature 0 -o max_tokens 40 'What is the capital of France?' | grep Paris
llm -m fleet -o temperature 0 -o max_tokens 100 --schema 'country, city' 'Describe Paris.' |
  python -c 'import json, sys; assert set(json.load(sys.stdin)) == {"country", "city"}'
