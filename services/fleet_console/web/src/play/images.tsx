/** Images of a message, kept as data URLs until it is sent. */

import { useRef, useState } from "preact/hooks";

const MAX_BYTES = 20 * 1024 * 1024;

export function Attach({ add }: { add: (url: string) => void }) {
  const input = useRef<HTMLInputElement>(null);
  const [problem, setProblem] = useState("");
  const read = (files: FileList | null) => {
    setProblem("");
    for (const file of files ?? []) {
      if (file.size > MAX_BYTES) {
        setProblem(`${file.name} has more than 20 MiB.`);
        continue;
      }
      const reader = new FileReader();
      reader.onload = () => add(String(reader.result));
      reader.readAsDataURL(file);
    }
    if (input.current) input.current.value = "";
  };
  return (
    <>
      <button type="button" onClick={() => input.current?.click()}>
        Attach images
      </button>
      <input
        ref={input}
        class="sr-only"
        type="file"
        accept="image/*"
        multiple
        tabIndex={-1}
        aria-label="Images"
        onChange={(event) => read(event.currentTarget.files)}
      />
      {problem && <span role="alert">{problem}</span>}
    </>
  );
}

export function Attached({ images, remove }: { images: string[]; remove: (at: number) => void }) {
  if (images.length === 0) return null;
  return (
    <ul class="attached">
      {images.map((url, at) => (
        <li key={at}>
          <img src={url} alt={`Image ${at + 1}`} />
          <button type="button" class="small" aria-label={`Remove image ${at + 1}`} onClick={() => remove(at)}>
            Remove
          </button>
        </li>
      ))}
    </ul>
  );
}
