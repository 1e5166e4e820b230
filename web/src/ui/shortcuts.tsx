import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { Dialog } from "./dialog";
import { Check } from "./field";

interface Shortcut {
  /** One key, as `KeyboardEvent.key` has it, or two after one another: "g l". */
  keys: string;
  title: string;
  act: () => void;
}

const shortcuts = signal<readonly Shortcut[]>([]);
const KEY = "offhook.shortcuts";

/** Shortcuts of single keys can be turned off: speech input and trembling hands press them unmeant. */
const on = signal(readOn());
const listed = signal(false);

function readOn(): boolean {
  try {
    return localStorage.getItem(KEY) !== "off";
  } catch {
    return true; // the browser refuses storage
  }
}

function setOn(value: boolean): void {
  on.value = value;
  try {
    localStorage.setItem(KEY, value ? "on" : "off");
  } catch {
    // It holds for this page alone then.
  }
}

/** Let keys do something while a component is shown, and list them under `?`. */
export function useShortcut(keys: string, title: string, act: () => void): void {
  const latest = useRef(act);
  latest.current = act;
  // Before it is painted: what is seen takes keys.
  useLayoutEffect(() => {
    const made: Shortcut = { keys, title, act: () => latest.current() };
    shortcuts.value = [...shortcuts.value, made];
    return () => {
      shortcuts.value = shortcuts.value.filter((each) => each !== made);
    };
  }, [keys, title]);
}

const SECOND_KEY_MS = 1200;
let first = "";
let firstAt = 0;

function onKeyDown(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const target = event.target instanceof HTMLElement ? event.target : null;
  if (target?.closest("input:not([type=checkbox]), textarea, select, [contenteditable], dialog")) return;
  // Space and Enter press what has the focus.
  if ((event.key === " " || event.key === "Enter") && target?.closest("button, a, summary, input")) return;
  if (event.key === "?") {
    listed.value = true;
    event.preventDefault();
    return;
  }
  if (!on.value && event.key.length === 1) return;
  const sequence = event.timeStamp - firstAt < SECOND_KEY_MS ? `${first} ${event.key}` : "";
  const found =
    shortcuts.value.findLast((each) => each.keys === sequence) ??
    shortcuts.value.findLast((each) => each.keys === event.key);
  first = event.key;
  firstAt = event.timeStamp;
  if (!found) return;
  first = "";
  event.preventDefault();
  found.act();
}

export function showShortcuts(): void {
  listed.value = true;
}

/** Listen to the keyboard, and list the shortcuts when asked. The shell has it once. */
export function Shortcuts(): JSX.Element | null {
  useEffect(() => {
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, []);
  if (!listed.value) return null;
  return (
    <Dialog title="Keyboard shortcuts" onClose={() => (listed.value = false)}>
      <dl class="facts">
        {shortcuts.value.map((each) => [
          <dt key={each.keys}>
            {each.keys.split(/ (?=.)/).map((key, at) => [at > 0 && " ", <kbd key={key}>{named(key)}</kbd>])}
          </dt>,
          <dd key={`${each.keys}=`}>{each.title}</dd>,
        ])}
        <dt><kbd>?</kbd></dt>
        <dd>This list</dd>
      </dl>
      <Check label="Shortcuts of single keys" checked={on.value} onChecked={setOn} />
      <div class="actions">
        <button type="button" class="button" onClick={() => (listed.value = false)}>Close</button>
      </div>
    </Dialog>
  );
}

function named(key: string): string {
  const names: Record<string, string> = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc" };
  return names[key] ?? key;
}
