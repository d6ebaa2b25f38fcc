/** The frame of the page: session, navigation, and the page of the address. */

import { render } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError, getJson, hasKey, setKey } from "./api";
import { FleetPage } from "./fleet";
import { moment } from "./format";
import { KeyForm } from "./key_form";
import { placeOf, type Place } from "./links";
import { ModelPage } from "./model";
import { Notice, Problem } from "./parts";
import { PlayPage } from "./play/page";
import { RequestsPage } from "./requests";
import { useRouters } from "./routers";
import "./style/theme.css";
import "./style/frame.css";
import "./style/controls.css";
import "./style/facts.css";
import "./style/charts.css";
import "./style/play.css";
import "./style/narrow.css";
import type { Session } from "./types";
import { UsagePage } from "./usage";

const NAVIGATION: [Place["page"], string, string][] = [
  ["fleet", "#/", "Fleet"],
  ["play", "#/play", "Playground"],
  ["usage", "#/usage", "Usage"],
  ["requests", "#/requests", "Requests"],
];
const RETRY_MS = 3000;

function App() {
  const [session, setSession] = useState<Session>();
  const [error, setError] = useState<ApiError>();
  const place = usePlace();
  const routers = useRouters();

  const begin = useCallback(async () => {
    try {
      setSession(await getJson<Session>("/console/api/session"));
      setError(undefined);
    } catch (problem) {
      setSession(undefined);
      setError(problem instanceof ApiError ? problem : new ApiError(0, String(problem)));
    }
  }, []);
  useEffect(() => void begin(), [begin]);
  useEffect(() => {
    if (error === undefined || error.status === 401) return;
    const timer = setTimeout(() => void begin(), RETRY_MS);
    return () => clearTimeout(timer);
  }, [error, begin]);

  const leave = () => {
    setKey("");
    void begin();
  };
  return (
    <>
      <a class="skip" href="#main" onClick={focusMain}>
        Skip to the content
      </a>
      <header>
        <span class="brand">Modelfleet</span>
        {session && (
          <nav aria-label="Pages">
            {NAVIGATION.map(([page, link, name]) => (
              <a key={page} href={link} aria-current={isCurrent(place, page) ? "page" : undefined}>
                {name}
              </a>
            ))}
          </nav>
        )}
        {session?.key && (
          <span class="who">
            <span>Key {session.key}</span>
            <button type="button" class="small" onClick={leave}>
              Forget
            </button>
          </span>
        )}
      </header>
      <main id="main" tabIndex={-1}>
        {error?.status === 401 ? (
          <KeyForm refused={hasKey() ? error : undefined} done={() => void begin()} />
        ) : (
          <Problem error={error} retry={() => void begin()} />
        )}
        {session && routers.length > 1 && (
          <Notice>
            Responses come from {routers.length} routers, each with its own figures:{" "}
            {routers.map((one) => one.router).join(", ")}.
          </Notice>
        )}
        {session && <Page place={place} session={session} />}
      </main>
      {session && (
        <footer>
          {routers.map((one) => (
            <span key={one.router}>
              Figures of router {one.router} since {moment(one.since)}.{" "}
            </span>
          ))}
          <a href="/console/licenses.txt">Licences</a>
        </footer>
      )}
    </>
  );
}

function Page({ place, session }: { place: Place; session: Session }) {
  switch (place.page) {
    case "fleet":
      return <FleetPage session={session} />;
    case "model":
      return <ModelPage key={place.model} id={place.model} session={session} />;
    case "play":
      return <PlayPage model={place.model} />;
    case "usage":
      return <UsagePage session={session} />;
    case "requests":
      return <RequestsPage session={session} />;
  }
}

function isCurrent(place: Place, page: Place["page"]): boolean {
  return place.page === page || (page === "fleet" && place.page === "model");
}

function focusMain(event: Event) {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

/** The place of the address; when it changes, the heading of the new page gets the focus, as after
 * the load of a document. */
function usePlace(): Place {
  const [place, setPlace] = useState(() => placeOf(location.hash));
  const first = useRef(true);
  useEffect(() => {
    const onChange = () => setPlace(placeOf(location.hash));
    addEventListener("hashchange", onChange);
    return () => removeEventListener("hashchange", onChange);
  }, []);
  useEffect(() => {
    if (first.current) {
      first.current = false;
      return;
    }
    const heading = document.querySelector("h1");
    heading?.focus();
    scrollTo(0, 0);
  }, [place]);
  useEffect(() => {
    const name = place.page === "model" || (place.page === "play" && place.model) ? place.model : "";
    const page = NAVIGATION.find(([each]) => each === place.page)?.[2] ?? "Model";
    document.title = `${name ? `${name} · ` : ""}${page} · Modelfleet`;
  }, [place]);
  return place;
}

const root = document.getElementById("app");
if (root) {
  root.replaceChildren();
  render(<App />, root);
}
