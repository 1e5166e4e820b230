import type { ComponentChildren, JSX } from "preact";
import { useId, useRef } from "preact/hooks";

/** Tabs with their panel. Arrow keys, Home and End move between them. */
export function Tabs<Name extends string>(props: {
  label: string;
  tabs: readonly (readonly [Name, string])[];
  chosen: Name;
  onChoose: (name: Name) => void;
  children: ComponentChildren;
}): JSX.Element {
  const id = useId();
  const list = useRef<HTMLDivElement>(null);
  const at = props.tabs.findIndex(([name]) => name === props.chosen);
  function onKeyDown(event: KeyboardEvent): void {
    const last = props.tabs.length - 1;
    const moves: Record<string, number> = {
      ArrowRight: at === last ? 0 : at + 1,
      ArrowLeft: at === 0 ? last : at - 1,
      Home: 0,
      End: last,
    };
    const to = moves[event.key];
    const tab = to === undefined ? undefined : props.tabs[to];
    if (to === undefined || !tab) return;
    event.preventDefault();
    props.onChoose(tab[0]);
    list.current?.querySelectorAll("button")[to]?.focus();
  }
  return (
    <div class="stack">
      <div class="tabs" role="tablist" aria-label={props.label} ref={list} onKeyDown={onKeyDown}>
        {props.tabs.map(([name, label]) => (
          <button
            key={name}
            type="button"
            role="tab"
            id={`${id}-${name}`}
            aria-selected={name === props.chosen}
            aria-controls={`${id}-panel`}
            tabIndex={name === props.chosen ? 0 : -1}
            onClick={() => props.onChoose(name)}
          >
            {label}
          </button>
        ))}
      </div>
      <div role="tabpanel" id={`${id}-panel`} aria-labelledby={`${id}-${props.chosen}`}>
        {props.children}
      </div>
    </div>
  );
}
