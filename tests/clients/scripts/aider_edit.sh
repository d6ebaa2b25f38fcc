# aider: a real edit of a file in a git repository. A grammar gives the text the form of an edit, since the
# model is too small to find it.
set -eu
export OPENAI_API_BASE=$BASE_URL/v1 OPENAI_API_KEY=none LITELLM_LOCAL_MODEL_COST_MAP=True
git init -q repository
cd repository
git config user.name Test
git config user.email test@example.com
echo 'print("hello")' > hello.py
git add hello.py
git commit -qm 'Add a greeting'
cat > "$HOME/settings.yml" <<'YAML'
- name: openai/smollm2
  edit_format: whole
  extra_params:
    max_tokens: 200
    extra_body:
      structured_outputs:
        regex: 'hello\.py\n```\nprint\("(Good morning|Good evening), [A-Z][a-z]{2,9}"\)\n```\n'
YAML
aider --model openai/smollm2 --weak-model openai/smollm2 --model-settings-file "$HOME/settings.yml" \
  --yes-always --no-check-update --analytics-disable --no-show-model-warnings --no-auto-commits --no-gitignore \
  --map-tokens 0 --message 'Print another greeting.' hello.py
grep -E '^print\("Good (morning|evening), [A-Z][a-z]+"\)$' hello.py
