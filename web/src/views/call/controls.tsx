/** The player's controls: play, 5 s back and on, speed, one side alone. */
import type { JSX } from "preact";
import { duration } from "../../format";
import { Button, Check, ErrorBox, useShortcut } from "../../ui";
import { type Player, type Side, SPEEDS } from "./player";
import { Position } from "./wave";

const STEP_MS = 5000;

const SIDES: readonly (readonly [Side, string])[] = [
  ["both", "Both"],
  ["caller", "Caller"],
  ["agent", "Agent"],
];

interface Props {
  player: Player;
  follow: boolean;
  onFollow: (follow: boolean) => void;
}

export function Controls({ player, follow, onFollow }: Props): JSX.Element {
  useShortcut(" ", "Play or pause", () => player.toggle());
  useShortcut("ArrowLeft", "5 s back", () => player.by(-STEP_MS));
  useShortcut("ArrowRight", "5 s on", () => player.by(STEP_MS));
  useShortcut("-", "Slower", () => player.faster(-1));
  useShortcut("+", "Faster", () => player.faster(1));
  useShortcut("1", "Both sides", () => player.hear("both"));
  useShortcut("2", "The caller alone", () => player.hear("caller"));
  useShortcut("3", "The agent alone", () => player.hear("agent"));
  const problem = player.problem.value;
  return (
    <div class="stack tight">
      <Position player={player} />
      <div class="row">
        <Button kind="primary" class="call-play" onClick={() => player.toggle()}>
          {player.playing.value ? "Pause" : "Play"}
        </Button>
        <Button small aria-label="5 seconds back" onClick={() => player.by(-STEP_MS)}>−5 s</Button>
        <Button small aria-label="5 seconds on" onClick={() => player.by(STEP_MS)}>+5 s</Button>
        <span class="num call-at">
          {duration(player.at.value)} / {duration(player.lengthMs)}
          {player.waiting.value && player.playing.value && <span class="muted"> loading…</span>}
        </span>
        <div class="row" role="group" aria-label="Sides that are heard">
          {SIDES.map(([side, name]) => (
            <Button key={side} small pressed={player.side.value === side} onClick={() => player.hear(side)}>
              {name}
            </Button>
          ))}
        </div>
        <label class="row small">
          Speed{" "}
          <select
            class="input call-speed"
            value={String(player.speed.value)}
            onChange={(event) => player.setSpeed(Number(event.currentTarget.value))}
          >
            {SPEEDS.map((speed) => <option key={speed} value={String(speed)}>{speed} ×</option>)}
          </select>
        </label>
        <Check label="Timeline follows" checked={follow} onChecked={onFollow} />
      </div>
      {problem && <ErrorBox problem={problem} />}
    </div>
  );
}
