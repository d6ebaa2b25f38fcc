/** Transcription of a file or of the microphone, with the time of each word. */

import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, postForm } from "../api";
import { duration } from "../format";
import { Problem } from "../parts";
import type { ModelRow } from "../types";
import { useRequest } from "./page";
import { useRecorder } from "./recorder";

interface Word {
  word: string;
  start: number;
  end: number;
}

interface Transcript {
  text: string;
  language: string;
  duration: number;
  words?: Word[];
}

export function SpeechPlay({ model }: { model: ModelRow }) {
  const [recording, setRecording] = useState<Blob>();
  const [url, setUrl] = useState("");
  const [language, setLanguage] = useState("");
  const [translate, setTranslate] = useState(false);
  const [transcript, setTranscript] = useState<Transcript>();
  const [seconds, setSeconds] = useState(0);
  const request = useRequest();
  const choose = (chosen: Blob) => {
    request.stop(); // its transcript would be shown with the other recording
    setRecording(chosen);
    setTranscript(undefined);
  };
  const recorder = useRecorder(choose, (text) => request.setError(new ApiError(0, text)));
  useEffect(() => {
    if (!recording) return;
    const made = URL.createObjectURL(recording);
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [recording]);

  const transcribe = async () => {
    if (!recording) return;
    const form = new FormData();
    form.set("model", model.id);
    form.set("response_format", "verbose_json");
    form.append("timestamp_granularities[]", "word");
    if (language.trim() && !translate) form.set("language", language.trim());
    form.set("file", recording, recording instanceof File ? recording.name : "recording.webm");
    const path = translate ? "/v1/audio/translations" : "/v1/audio/transcriptions";
    await request.run(async (signal) => {
      const started = performance.now();
      const response = await postForm(path, form, signal);
      setTranscript((await response.json()) as Transcript);
      setSeconds((performance.now() - started) / 1000);
    });
  };
  return (
    <>
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault();
          void transcribe();
        }}
      >
        <label>
          <span>Recording</span>
          <input
            type="file"
            accept="audio/*,video/*"
            onChange={(event) => {
              const file = event.currentTarget.files?.[0];
              if (file) choose(file);
            }}
          />
        </label>
        <div class="row">
          <button type="button" aria-pressed={recorder.recording} onClick={() => void recorder.toggle()}>
            {recorder.recording ? "End the recording" : "Record"}
          </button>
          <label class="inline">
            <span>Language</span>
            <input
              class="short"
              value={language}
              placeholder="any"
              maxLength={8}
              disabled={translate}
              onInput={(event) => setLanguage(event.currentTarget.value)}
            />
          </label>
          <label class="check">
            <input type="checkbox" checked={translate} onChange={(event) => setTranslate(event.currentTarget.checked)} />
            Translate into English
          </label>
        </div>
        <div class="row">
          <button type="submit" class="primary" disabled={!recording || request.running}>
            Transcribe
          </button>
          {request.running && (
            <button type="button" onClick={request.stop}>
              Stop
            </button>
          )}
        </div>
      </form>
      <Problem error={request.error} retry={recording ? () => void transcribe() : undefined} />
      {transcript && <TranscriptView transcript={transcript} url={url} seconds={seconds} />}
    </>
  );
}

function TranscriptView({ transcript, url, seconds }: { transcript: Transcript; url: string; seconds: number }) {
  const audio = useRef<HTMLAudioElement>(null);
  const [at, setAt] = useState(-1);
  const words = transcript.words ?? [];
  const play = (word: Word) => {
    if (!audio.current) return;
    audio.current.currentTime = word.start;
    void audio.current.play().catch(() => undefined);
  };
  return (
    <section class="card">
      <h2>Transcript</h2>
      <p class="figures" role="status">
        {duration(transcript.duration)} of {transcript.language} in {duration(seconds)}
      </p>
      <audio ref={audio} controls src={url} onTimeUpdate={(event) => setAt(event.currentTarget.currentTime)} />
      {words.length === 0 && <p class="text">{transcript.text}</p>}
      {words.length > 0 && (
        <ol class="words" aria-label="Words">
          {words.map((word, number) => (
            <li key={number}>
              <button
                type="button"
                class={at >= word.start && at < word.end ? "current" : ""}
                title={`${word.start.toFixed(2)} to ${word.end.toFixed(2)} s`}
                onClick={() => play(word)}
              >
                {word.word.trim()} <small>{word.start.toFixed(2)}</small>
              </button>
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}
