/** What is said in the call from this page, as it is said. */
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { millis } from "../../format";
import { type LiveEvent, onEvent } from "../../live";

interface Line {
  who: "caller" | "agent" | "function" | "end";
  /** Number of the agent's utterance while it is said. */
  utterance?: number;
  /** Words that were heard; of an utterance that goes on, none yet. */
  text: string;
  /** Words that the agent has said or is about to say, and that were not heard. */
  unheard?: string;
}

/** Return the lines after an event. */
function after(lines: readonly Line[], event: LiveEvent): readonly Line[] {
  switch (event.type) {
    case "CallerSaid":
      return [...lines, { who: "caller", text: event.text }];
    case "AgentAnnounced": {
      const last = lines.findLastIndex((line) => line.utterance === event.utterance);
      if (last < 0) {
        return [...lines, { who: "agent", utterance: event.utterance, text: "", unheard: event.text }];
      }
      return lines.with(last, { ...lines[last]!, unheard: `${lines[last]!.unheard} ${event.text}` });
    }
    case "AgentSaid": {
      const said: Line = { who: "agent", text: event.text };
      if (event.interrupted && event.intended.startsWith(event.text)) {
        said.unheard = event.intended.slice(event.text.length);
      }
      const open = lines.findIndex((line) => line.utterance !== undefined);
      return open < 0 ? [...lines, said] : lines.with(open, said);
    }
    case "FunctionAnswered":
      return [...lines, { who: "function", text: `${event.name}: ${event.outcome}, ${millis(event.after_ms)}` }];
    case "CallEnded":
      return [...lines, { who: "end", text: event.words }];
    default:
      return lines;
  }
}

const NAMES = { caller: "You", agent: "Agent", function: "Function", end: "End" } as const;

export function Transcript({ callSid }: { callSid: string }): JSX.Element {
  const [lines, setLines] = useState<readonly Line[]>([]);
  const end = useRef<HTMLDivElement>(null);
  useEffect(
    () =>
      onEvent((event) => {
        if (event.callSid === callSid) setLines((before) => after(before, event));
      }),
    [callSid],
  );
  useEffect(() => end.current?.scrollIntoView({ block: "nearest" }), [lines]);
  return (
    <div class="transcript" role="log" aria-label="Transcript">
      {lines.map((line, at) => (
        <p key={at} class={line.who}>
          <span class="who">{NAMES[line.who]}</span>
          <span>
            {line.text}
            {line.unheard && <span class="unheard"> {line.unheard}</span>}
          </span>
        </p>
      ))}
      {lines.length === 0 && <p class="muted">Nothing has been said yet.</p>}
      <div ref={end} />
    </div>
  );
}
