import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Phone } from "../../audio/phone";
import { useShortcut } from "../../ui";

/** Keys of a telephone, in their places, with the letters on them. */
const KEYS = [
  ["1", ""],
  ["2", "abc"],
  ["3", "def"],
  ["4", "ghi"],
  ["5", "jkl"],
  ["6", "mno"],
  ["7", "pqrs"],
  ["8", "tuv"],
  ["9", "wxyz"],
  ["*", ""],
  ["0", ""],
  ["#", ""],
] as const;

/** Keys that were pressed and are still shown. */
const SHOWN = 24;

/** The keypad of a call; the keys of the keyboard work, too. */
export function Keypad({ phone }: { phone: Phone }): JSX.Element {
  const [pressed, setPressed] = useState("");
  function press(digit: string): void {
    phone.press(digit);
    setPressed((before) => (before + digit).slice(-SHOWN));
  }
  return (
    <div class="keypad stack tight">
      <output class="pressed num" aria-label="Keys pressed">{pressed || "\u00a0"}</output>
      <div class="keys" role="group" aria-label="Keypad">
        {KEYS.map(([digit, letters]) => (
          <Key key={digit} digit={digit} letters={letters} press={press} />
        ))}
      </div>
    </div>
  );
}

function Key(props: { digit: string; letters: string; press: (digit: string) => void }): JSX.Element {
  const { digit, letters, press } = props;
  useShortcut(digit, `Key ${digit} of the keypad`, () => press(digit));
  const name = { "*": "star", "#": "hash" }[digit];
  return (
    <button type="button" class="button key" aria-label={name} onClick={() => press(digit)}>
      <span>{digit}</span>
      <small aria-hidden="true">{letters || "\u00a0"}</small>
    </button>
  );
}
