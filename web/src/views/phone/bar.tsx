/** The call from this page, above every other view while it is on. */
import type { JSX } from "preact";
import { Button } from "../../ui/button";
import { Icon } from "../../ui/icon";
import { Duration } from "../../ui/time";
import { calling, isInCall } from "./calling";

export function PhoneBar({ path }: { path: string }): JSX.Element | null {
  const now = calling.value;
  if (now === null || path === "/phone" || !isInCall.value) return null;
  const { phone, agent, beganMs } = now;
  return (
    <div class="banner">
      <Icon name="phone" />
      <span>
        You are in a call to <a href="/phone">{agent}</a>, <Duration since={beganMs} />
        {phone.microphone.value === "muted" && ", muted"}
        {phone.sound.value === "held" && ", without sound"}
      </span>
      <Button small kind="danger" onClick={() => phone.hangUp()}>
        Hang up
      </Button>
    </div>
  );
}
