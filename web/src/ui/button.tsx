import type { ButtonHTMLAttributes, ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import { toast, toastProblem } from "./toast";

export type Kind = "normal" | "primary" | "danger" | "quiet";

interface ButtonProps extends Omit<ButtonHTMLAttributes<HTMLButtonElement>, "disabled" | "title"> {
  kind?: Kind;
  small?: boolean;
  /** Why it cannot be pressed now. The button keeps its focus and says the reason. */
  disabled?: string | false | null;
  pressed?: boolean;
  submit?: boolean;
  children: ComponentChildren;
}

/** A button. One that cannot be pressed says why, to everybody: `disabled` is the reason. */
export function Button(props: ButtonProps): JSX.Element {
  const { kind = "normal", small, disabled, pressed, submit, children, onClick, class: more, ...rest } = props;
  const names = ["button", kind, small && "small", more].filter(Boolean).join(" ");
  return (
    <button
      {...rest}
      type={submit ? "submit" : "button"}
      class={names}
      aria-disabled={disabled ? "true" : undefined}
      aria-pressed={pressed}
      aria-description={disabled || undefined}
      title={disabled || undefined}
      onClick={(event) => {
        if (disabled) event.preventDefault();
        else onClick?.call(event.currentTarget, event);
      }}
    >
      {children}
    </button>
  );
}

interface ActionProps extends Omit<ButtonProps, "onClick"> {
  /** Does it. The text that it returns, if any, says what happened, and is shown. */
  act: () => Promise<string | void>;
}

/** A button for a request: it is busy until the answer, then shows what happened or the problem. */
export function ActionButton({ act, disabled, children, ...rest }: ActionProps): JSX.Element {
  const [busy, setBusy] = useState(false);
  async function run(): Promise<void> {
    setBusy(true);
    try {
      const what = await act();
      if (what) toast(what);
    } catch (error) {
      toastProblem(error);
    } finally {
      setBusy(false);
    }
  }
  return (
    <Button
      {...rest}
      disabled={busy ? "Waiting for the answer." : disabled}
      aria-busy={busy}
      onClick={() => void run()}
    >
      {busy && <span class="spinner" aria-hidden="true" />}
      {children}
    </Button>
  );
}
