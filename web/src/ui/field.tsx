import type { ComponentChildren, InputHTMLAttributes, JSX, TextareaHTMLAttributes } from "preact";
import { useId } from "preact/hooks";

interface FieldProps {
  label: string;
  /** What is to be filled in. */
  hint?: string;
  /** What is wrong with what was filled in. */
  error?: string | null;
}

interface Wired {
  id: string;
  "aria-describedby": string | undefined;
  "aria-invalid": boolean | undefined;
}

/** A label with its control, hint and error. `children` gets what ties the control to them. */
export function Field(
  props: FieldProps & { children: (wired: Wired) => ComponentChildren },
): JSX.Element {
  const id = useId();
  const about = [props.hint && `${id}-hint`, props.error && `${id}-error`].filter(Boolean).join(" ");
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      {props.children({
        id,
        "aria-describedby": about || undefined,
        "aria-invalid": props.error ? true : undefined,
      })}
      {props.hint && <div class="hint" id={`${id}-hint`}>{props.hint}</div>}
      {props.error && <div class="error" id={`${id}-error`}>{props.error}</div>}
    </div>
  );
}

interface TextProps extends FieldProps {
  value: string;
  onValue: (value: string) => void;
  input?: InputHTMLAttributes<HTMLInputElement>;
}

/** A line of text. `input` has further attributes, such as type or placeholder. */
export function TextField({ value, onValue, input, ...field }: TextProps): JSX.Element {
  return (
    <Field {...field}>
      {(wired) => (
        <input
          type="text"
          {...input}
          {...wired}
          class="input"
          value={value}
          onInput={(event) => onValue(event.currentTarget.value)}
        />
      )}
    </Field>
  );
}

interface AreaProps extends FieldProps {
  value: string;
  onValue: (value: string) => void;
  input?: TextareaHTMLAttributes<HTMLTextAreaElement>;
}

/** Several lines of text. */
export function TextArea({ value, onValue, input, ...field }: AreaProps): JSX.Element {
  return (
    <Field {...field}>
      {(wired) => (
        <textarea
          rows={3}
          {...input}
          {...wired}
          class="input"
          value={value}
          onInput={(event) => onValue(event.currentTarget.value)}
        />
      )}
    </Field>
  );
}

interface SelectProps extends FieldProps {
  value: string;
  onValue: (value: string) => void;
  /** Pairs of value and label. */
  options: readonly (readonly [string, string])[];
}

/** A choice of one from a list. */
export function Select({ value, onValue, options, ...field }: SelectProps): JSX.Element {
  return (
    <Field {...field}>
      {(wired) => (
        <select
          {...wired}
          class="input"
          value={value}
          onChange={(event) => onValue(event.currentTarget.value)}
        >
          {options.map(([option, label]) => (
            <option key={option} value={option}>{label}</option>
          ))}
        </select>
      )}
    </Field>
  );
}

/** A box to tick. */
export function Check(props: {
  label: string;
  checked: boolean;
  onChecked: (checked: boolean) => void;
}): JSX.Element {
  return (
    <label class="row">
      <input
        type="checkbox"
        checked={props.checked}
        onChange={(event) => props.onChecked(event.currentTarget.checked)}
      />
      {props.label}
    </label>
  );
}
