/** Records the microphone. */

import { useEffect, useRef, useState } from "preact/hooks";

/** `done` gets the recording, `failed` why there is none. */
export function useRecorder(done: (recording: Blob) => void, failed: (text: string) => void) {
  const [recording, setRecording] = useState(false);
  const finish = useRef(done);
  finish.current = done;
  const running = useRef<MediaRecorder | null>(null);
  // While the browser requests the permission: neither a second click nor a page that was left
  // meanwhile may start a recording.
  const starting = useRef(false);
  const gone = useRef(false);
  useEffect(
    () => () => {
      gone.current = true;
      end(running.current);
    },
    [],
  );

  const begin = async () => {
    if (starting.current) return;
    if (!navigator.mediaDevices) {
      failed("Browsers allow the microphone only on https pages and on this machine.");
      return;
    }
    starting.current = true;
    let stream: MediaStream | undefined;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      if (gone.current) {
        release(stream);
        return;
      }
      running.current = record(stream);
      setRecording(true);
    } catch {
      if (stream) release(stream);
      failed("The browser denied the microphone; allow it for this page.");
    } finally {
      starting.current = false;
    }
  };

  const record = (stream: MediaStream): MediaRecorder => {
    const pieces: Blob[] = [];
    const made = new MediaRecorder(stream);
    made.ondataavailable = (event) => pieces.push(event.data);
    made.onstop = () => {
      release(stream);
      if (gone.current) return;
      setRecording(false);
      finish.current(new Blob(pieces, { type: made.mimeType }));
    };
    made.start();
    return made;
  };
  return { recording, toggle: async () => (recording ? end(running.current) : begin()) };
}

function end(recorder: MediaRecorder | null): void {
  if (recorder && recorder.state !== "inactive") recorder.stop();
}

function release(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}
