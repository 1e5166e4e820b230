/** What is asked before a caller is transferred, and before a call is ended. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { get, post, type Problem, problemOf } from "../../api";
import type { LiveCall } from "../../live";
import { Button, Dialog, ErrorBox, Loading, Select, TextField, useLoad } from "../../ui";
import { toast } from "../../ui/toast";
import type { Done } from "./controls";
import { otherParty } from "./index";

interface Agent {
  name: string;
  destinations: string[];
}

interface DialogProps {
  call: LiveCall;
  onClose: () => void;
}

/** Send a request while a dialog is open; close it when it was done, else show why not there. */
function useRequest(onClose: () => void) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  async function send(request: () => Promise<Done>): Promise<void> {
    setBusy(true);
    setProblem(null);
    try {
      toast((await request()).what);
      onClose();
    } catch (error) {
      setProblem(problemOf(error));
      setBusy(false);
    }
  }
  return { busy, problem, send };
}

export function HangUpDialog({ call, onClose }: DialogProps): JSX.Element {
  const [farewell, setFarewell] = useState("");
  const { busy, problem, send } = useRequest(onClose);
  return (
    <Dialog title={`Hang up on ${otherParty(call)}?`} onClose={onClose}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          const body = farewell.trim() ? { farewell } : {};
          if (!busy) void send(() => post<Done>(`/calls/${call.call_sid}/hang-up`, body));
        }}
      >
        <TextField
          label="Last words"
          hint="The agent says them first. Without any the call ends at once."
          value={farewell}
          onValue={setFarewell}
          input={{ maxLength: 2000, autocomplete: "off" }}
        />
        {problem && <ErrorBox problem={problem} />}
        <div class="actions">
          <Button onClick={onClose}>Keep the call</Button>
          <Button kind="danger" submit disabled={busy && "Waiting for the answer."}>
            {busy && <span class="spinner" aria-hidden="true" />} Hang up
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

export function TransferDialog({ call, onClose }: DialogProps): JSX.Element {
  const agents = useLoad("agents", (signal) => get<{ agents: Agent[] }>("/agents", {}, signal));
  const destinations = agents.data?.agents.find((agent) => agent.name === call.agent)?.destinations;
  return (
    <Dialog title={`Transfer ${otherParty(call)}`} onClose={onClose}>
      {agents.problem && <ErrorBox problem={agents.problem} again={agents.again} />}
      {agents.loading && !agents.data && <Loading what="Loading the destinations" />}
      {agents.data && !destinations?.length && (
        <>
          <p>
            The file of the agent {call.agent} names no destinations, and callers are transferred to
            those alone. Add them under <code>transfer.destinations</code>, and reload the agents.
          </p>
          <div class="actions"><Button onClick={onClose}>Close</Button></div>
        </>
      )}
      {!!destinations?.length && <TransferForm call={call} onClose={onClose} destinations={destinations} />}
    </Dialog>
  );
}

function TransferForm({ call, onClose, destinations }: DialogProps & { destinations: string[] }): JSX.Element {
  const [destination, setDestination] = useState(destinations[0] ?? "");
  const [summary, setSummary] = useState("");
  const { busy, problem, send } = useRequest(onClose);
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        const body = summary.trim() ? { destination, summary } : { destination };
        if (!busy) void send(() => post<Done>(`/calls/${call.call_sid}/transfer`, body));
      }}
    >
      <Select
        label="To"
        value={destination}
        onValue={setDestination}
        options={destinations.map((name) => [name, name] as const)}
      />
      <TextField
        label="What they should know"
        hint="Told to a person who is asked first, where the agent's file says so."
        value={summary}
        onValue={setSummary}
        input={{ maxLength: 2000, autocomplete: "off" }}
      />
      {problem && <ErrorBox problem={problem} />}
      <div class="actions">
        <Button onClick={onClose}>Cancel</Button>
        <Button kind="primary" submit disabled={busy && "Waiting for the answer."}>
          {busy && <span class="spinner" aria-hidden="true" />} Transfer
        </Button>
      </div>
    </form>
  );
}
