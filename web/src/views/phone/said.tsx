/** What is said in the call from this page, as it is said; and how the last one ended. */
import type { JSX } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import { followConversation, Transcript } from "../../conversation";
import { ErrorBox } from "../../ui";

export function Said({ callSid }: { callSid: string }): JSX.Element {
  const followed = useMemo(() => followConversation(callSid), [callSid]);
  useEffect(() => followed.stop, [followed]);
  const { talk, problem, loading, again } = followed;
  // A call that has just begun has no record yet, and nothing was said before.
  const told = problem.value !== null && problem.value.status !== 404 ? problem.value : null;
  const end = talk.value.ending;
  return (
    <>
      {told !== null && <ErrorBox problem={told} again={again} />}
      <Transcript
        lines={talk.value.lines}
        empty={loading.value ? "Loading what was said…" : "Nothing was said yet."}
      />
      {end !== null && <p class="phone-end">The call has ended: {end}.</p>}
    </>
  );
}
