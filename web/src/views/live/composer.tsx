/** Words for the agent, which the caller does not hear, or for the caller. */
import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import { post } from "../../api";
import type { LiveCall } from "../../live";
import { ActionButton, Select, Tabs, TextArea, useShortcut } from "../../ui";
import { toast, toastProblem } from "../../ui/toast";
import type { Done } from "./controls";

type Target = "whisper" | "say";

/** The server takes as many characters (calls/operations.py, TEXT_MAX). */
const TEXT_MAX = 2000;

const WAYS = {
  whisper: [
    ["tell", "Act on it at once"],
    ["prompt", "Keep it in mind"],
  ],
  say: [
    ["queue", "After what the agent is saying"],
    ["interrupt", "Now, in place of it"],
  ],
} as const;

const HINTS = {
  whisper: {
    tell: "The agent answers to it now, as if the caller had said it.",
    prompt: "It is added to the agent's prompt; the agent says nothing now.",
  },
  say: {
    queue: "The agent says these words.",
    interrupt: "The agent stops, and says these words.",
  },
};

export function Composer({ call, reason }: { call: LiveCall; reason: string | false }): JSX.Element {
  const [target, setTarget] = useState<Target>("whisper");
  const [whisperWay, setWhisperWay] = useState<"tell" | "prompt">("tell");
  const [sayWay, setSayWay] = useState<"queue" | "interrupt">("queue");
  const [texts, setTexts] = useState({ whisper: "", say: "" });
  const box = useRef<HTMLDivElement>(null);
  const text = texts[target];

  function open(to: Target): void {
    setTarget(to);
    requestAnimationFrame(() => box.current?.querySelector("textarea")?.focus());
  }
  useShortcut("w", "Whisper to the agent", () => open("whisper"));
  useShortcut("s", "Say something to the caller", () => open("say"));

  async function send(): Promise<string> {
    const path = `/calls/${call.call_sid}`;
    const done =
      target === "say"
        ? await post<Done>(`${path}/say`, { text, behavior: sayWay })
        : whisperWay === "tell"
          ? await post<Done>(`${path}/tell`, { text })
          : await post<Done>(`${path}/prompt`, { prompt: text });
    setTexts({ ...texts, [target]: "" });
    return done.what;
  }

  const cannot = reason || (text.trim() === "" && "Write something first.");
  return (
    <div ref={box}>
      <Tabs
        label="To whom"
        tabs={[
          ["whisper", "Whisper"],
          ["say", "Say"],
        ]}
        chosen={target}
        onChoose={setTarget}
      >
        <form
          class="stack tight"
          onSubmit={(event) => {
            event.preventDefault();
            if (!cannot) send().then(toast, toastProblem);
          }}
        >
          <TextArea
            label={target === "whisper" ? "To the agent; the caller does not hear it" : "To the caller, in the agent's voice"}
            value={text}
            onValue={(value) => setTexts({ ...texts, [target]: value })}
            input={{
              rows: 2,
              maxLength: TEXT_MAX,
              onKeyDown: (event) => {
                if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
                  event.preventDefault();
                  event.currentTarget.form?.requestSubmit();
                }
                if (event.key === "Escape") event.currentTarget.blur();
              },
            }}
          />
          <div class="call-send">
            {target === "whisper" ? (
              <Select
                label="How"
                value={whisperWay}
                onValue={(way) => setWhisperWay(way as "tell" | "prompt")}
                options={WAYS.whisper}
                hint={HINTS.whisper[whisperWay]}
              />
            ) : (
              <Select
                label="When"
                value={sayWay}
                onValue={(way) => setSayWay(way as "queue" | "interrupt")}
                options={WAYS.say}
                hint={HINTS.say[sayWay]}
              />
            )}
            <ActionButton kind="primary" disabled={cannot} act={send}>
              {target === "whisper" ? "Whisper" : "Say"}
            </ActionButton>
          </div>
        </form>
      </Tabs>
    </div>
  );
}
