/** Records the microphone. */

import { useEffect, useRef, useState } from "preact/hooks";

/** `done` gets the recording, `failed` why there is none. */
export function useRecorder(done: (recording: Blob) => void, failed: (text: string) => void) {
  const [recording, setRecording] = useState(false);
  const running = useRef<MediaRecorder | null>(null);
  useEffect(() => () => end(running.current), []);

  const begin = async () => {
    // Browsers offer microphones only to pages of https and of this machine.
    if (!navigator.mediaDevices) {
      failed("The browser gives no microphone to pages without https.");
      return;
    }
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      const pieces: Blob[] = [];
      const made = new MediaRecorder(stream);
      made.ondataavailable = (event) => pieces.push(event.data);
      made.onstop = () => {
        for (const track of stream.getTracks()) track.stop();
        setRecording(false);
        done(new Blob(pieces, { type: made.mimeType }));
      };
      running.current = made;
      made.start();
      setRecording(true);
    } catch {
      failed("The browser allows no recording; permit the microphone for this page.");
    }
  };
  return { recording, toggle: async () => (recording ? end(running.current) : begin()) };
}

function end(recorder: MediaRecorder | null): void {
  if (recorder && recorder.state !== "inactive") recorder.stop();
}
