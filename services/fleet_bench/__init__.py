"""`modelfleet bench`: load against any OpenAI endpoint, measured from outside."""
