import type { JSX } from "preact";
import { Problem } from "../../api";
import { ActionButton } from "../../ui";

/** Copies a text. Where the browser refuses that, it says so. */
export function CopyButton({ text, what }: { text: string; what: string }): JSX.Element {
  async function copy(): Promise<string> {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      throw new Problem(
        "The browser does not let this page copy.",
        "Mark the text and copy it by keyboard: a page that is not on https or localhost may not copy.",
        "",
        -1,
      );
    }
    return `The ${what} is copied.`;
  }
  return <ActionButton small kind="quiet" aria-label={`Copy the ${what}`} act={copy}>Copy</ActionButton>;
}
