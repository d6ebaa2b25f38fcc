/** The form for an API key. */

import { useState } from "preact/hooks";
import { setKey, type ApiError } from "./api";
import { Problem } from "./parts";

export function KeyForm({ refused, done }: { refused: ApiError | undefined; done: () => void }) {
  const [typed, setTyped] = useState("");
  const submit = (event: Event) => {
    event.preventDefault();
    setKey(typed);
    setTyped("");
    done();
  };
  return (
    <form class="key-form card" onSubmit={submit}>
      <h1 tabIndex={-1}>API key</h1>
      <p>This fleet requires a key. It is kept in this tab until it is closed.</p>
      <Problem error={refused} />
      <label>
        <span>Key</span>
        <input
          type="password"
          value={typed}
          required
          autoComplete="off"
          spellcheck={false}
          onInput={(event) => setTyped(event.currentTarget.value)}
        />
      </label>
      <button type="submit" class="primary">
        Continue
      </button>
    </form>
  );
}
