import type { JSX } from "preact";
import { memo } from "preact/compat";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { duration, millis, words } from "../format";
import { Button } from "../ui/button";
import { heardLength } from "./heard";
import type { AgentLine, FunctionLine, Line } from "./lines";
import "./conversation.css";

/** Pixels from the end within which the transcript follows what is said. */
const NEAR = 60;

interface TranscriptProps {
  lines: readonly Line[];
  /** What is said where there are no lines. */
  empty: string;
}

/**
 * What was said and done in a call, as it goes on. The agent's words are grey until the caller has
 * heard them. It follows the newest line, unless the reader has gone back.
 */
export function Transcript({ lines, empty }: TranscriptProps): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const [follows, setFollows] = useState(true);
  useLayoutEffect(() => {
    if (follows && box.current) box.current.scrollTop = box.current.scrollHeight;
  });
  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const observer = new ResizeObserver(() => {
      if (follows) element.scrollTop = element.scrollHeight;
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, [follows]);
  return (
    <div class="talk">
      <div
        class="talk-scroll"
        ref={box}
        tabIndex={0}
        role="log"
        aria-relevant="additions"
        aria-label="Transcript"
        onScroll={(event) => {
          const { scrollTop, scrollHeight, clientHeight } = event.currentTarget;
          setFollows(scrollHeight - scrollTop - clientHeight < NEAR);
        }}
      >
        {lines.length === 0 && <p class="muted talk-empty">{empty}</p>}
        <ol>
          {lines.map((line) => (
            <TalkLine key={line.key} line={line} />
          ))}
        </ol>
      </div>
      {!follows && (
        <Button small class="talk-newest" onClick={() => setFollows(true)}>
          Newest ↓
        </Button>
      )}
    </div>
  );
}

const WHO: Record<Line["kind"], string> = {
  caller: "Caller",
  agent: "Agent",
  function: "Function",
  operator: "Operator",
  note: "",
};

const TalkLine = memo(function TalkLine({ line }: { line: Line }): JSX.Element {
  const tone = line.kind === "note" ? (line.fault ? "fault" : "note") : line.kind;
  return (
    <li class={`talk-line ${tone}`}>
      <span class="talk-at num">{duration(line.atMs)}</span>
      <span class="talk-who">{WHO[line.kind]}</span>
      <span class="talk-text">{content(line)}</span>
    </li>
  );
});

function content(line: Line): JSX.Element {
  switch (line.kind) {
    case "caller":
      return <>{line.text}</>;
    case "agent":
      return <AgentWords line={line} />;
    case "function":
      return <FunctionCall line={line} />;
    case "operator":
      return (
        <>
          {line.words}
          {line.refused && <span class="badge fault">refused</span>}
        </>
      );
    case "note":
      return (
        <>
          {line.words}
          {line.text && <>: {line.text}</>}
        </>
      );
  }
}

function AgentWords({ line }: { line: AgentLine }): JSX.Element {
  const heard = heardOf(line);
  const rest = line.text.slice(heard);
  return (
    <>
      <span class="heard">{line.text.slice(0, heard)}</span>
      {rest && (
        <span class="unheard">
          <span class="hidden-text"> Not heard{line.state === "speaking" ? " yet" : ""}: </span>
          {rest}
        </span>
      )}
      {line.state === "cut" && <span class="badge">interrupted</span>}
      {line.state === "unspoken" && <span class="badge">not spoken</span>}
    </>
  );
}

/** Return how many characters of what the agent meant to say were heard. */
function heardOf(line: AgentLine): number {
  if (line.state === "said") return line.text.length;
  if (line.heard === null) return heardLength(line.text, line.heardMs);
  const words = line.heard.split(/\s+/).filter(Boolean).length;
  let end = 0;
  let count = 0;
  for (const found of line.text.matchAll(/\S+/g)) {
    if (count === words) break;
    count += 1;
    end = found.index + found[0].length;
  }
  return end;
}

function FunctionCall({ line }: { line: FunctionLine }): JSX.Element {
  const failed = line.outcome !== null && line.outcome !== "answered";
  return (
    <details>
      <summary>
        <code>{line.name}</code>{" "}
        {line.outcome === null ? (
          <span class="badge function">
            <span class="spinner" aria-hidden="true" /> runs
          </span>
        ) : (
          <span class={`badge ${failed ? "fault" : "function"}`}>
            {words(line.outcome)}
            {line.afterMs !== null && ` in ${millis(line.afterMs)}`}
          </span>
        )}
      </summary>
      <div class="talk-detail">
        <span class="muted small">Arguments</span>
        <pre>{pretty(line.arguments)}</pre>
        {line.content !== null && (
          <>
            <span class="muted small">What the agent was told</span>
            <pre>{pretty(line.content)}</pre>
          </>
        )}
      </div>
    </details>
  );
}

/** Return JSON with line breaks; any other text as it is. */
function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
