/** Who may sign in, and who did what. For admins. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { get, post, type Problem, problemOf, put, remove } from "../../api";
import { place, setQuery } from "../../router";
import { may, type Role, user } from "../../session";
import {
  ActionButton,
  Ago,
  Badge,
  Button,
  Dialog,
  Empty,
  ErrorBox,
  Loading,
  Select,
  Table,
  Tabs,
  TextField,
  useLoad,
} from "../../ui";
import { toast } from "../../ui/toast";
import { AuditLog } from "./audit";

export interface User {
  name: string;
  role: Role;
  since_ms: number;
}

const ROLES: readonly (readonly [Role, string])[] = [
  ["viewer", "viewer: sees calls"],
  ["operator", "operator: acts on calls, talks to agents"],
  ["admin", "admin: users, erasing, reload"],
];

export default function UsersView(): JSX.Element {
  const shown = place.value.query.get("show") === "audit" ? "audit" : "users";
  return (
    <>
      <header class="view-head">
        <h1>Users</h1>
      </header>
      {may("admin") ? (
        <Tabs
          label="Users and audit log"
          tabs={[
            ["users", "Users"],
            ["audit", "Audit log"],
          ]}
          chosen={shown}
          onChoose={(show) => setQuery({ show: show === "audit" ? show : null })}
        >
          {shown === "users" ? <Users /> : <AuditLog />}
        </Tabs>
      ) : (
        <Empty title="Only admins see users">
          <p>Your role is {user.value?.role}.</p>
        </Empty>
      )}
    </>
  );
}

function Users(): JSX.Element {
  const users = useLoad("users", (signal) => get<{ users: User[] }>("/users", {}, signal));
  const [asked, setAsked] = useState<"add" | User | null>(null);
  const close = (): void => setAsked(null);
  return (
    <div class="stack">
      <div class="row">
        <Button kind="primary" onClick={() => setAsked("add")}>Add a user…</Button>
      </div>
      {users.problem && <ErrorBox problem={users.problem} again={users.again} />}
      {!users.data && users.loading && <Loading what="Loading the users" />}
      {users.data?.users.length === 0 && (
        <Empty title="Nobody has a password yet">
          <p>You are signed in by a one-time link, or the API's token. Add a user for each person.</p>
        </Empty>
      )}
      {!!users.data?.users.length && (
        <div class="panel">
          <Table
            caption="Users"
            rows={users.data.users}
            keyOf={(each) => each.name}
            columns={[
              { name: "Name", cell: (each) => <strong>{each.name}</strong> },
              { name: "Role", cell: (each) => <Badge>{each.role}</Badge> },
              { name: "Since", cell: (each) => <Ago at={each.since_ms} /> },
              {
                name: "Change",
                cell: (each) => <Button small onClick={() => setAsked(each)}>Change…<span class="hidden-text"> {each.name}</span></Button>,
                right: true,
              },
            ]}
          />
        </div>
      )}
      {asked === "add" && <AddDialog onClose={close} changed={users.again} />}
      {asked !== null && asked !== "add" && <ChangeDialog who={asked} onClose={close} changed={users.again} />}
    </div>
  );
}

interface FormProps {
  onClose: () => void;
  changed: () => void;
}

function AddDialog({ onClose, changed }: FormProps): JSX.Element {
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>("operator");
  const [password, setPassword] = useState("");
  const [problem, setProblem] = useState<Problem | null>(null);
  async function add(): Promise<void> {
    try {
      await post<User>("/users", { name, role, password });
      toast(`${name} may sign in`);
      changed();
      onClose();
    } catch (error) {
      setProblem(problemOf(error));
    }
  }
  return (
    <Dialog title="Add a user" onClose={onClose}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void add();
        }}
      >
        <TextField label="Name" value={name} onValue={setName} input={{ required: true, autocomplete: "off" }} />
        <RoleField role={role} onRole={setRole} />
        <Password label="Password" value={password} onValue={setPassword} required />
        {problem && <ErrorBox problem={problem} />}
        <div class="actions">
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" submit>Add</Button>
        </div>
      </form>
    </Dialog>
  );
}

function ChangeDialog({ who, onClose, changed }: FormProps & { who: User }): JSX.Element {
  const [role, setRole] = useState<Role>(who.role);
  const [password, setPassword] = useState("");
  const [removing, setRemoving] = useState(false);
  const path = `/users/${encodeURIComponent(who.name)}`;
  const own = who.name === user.value?.name;
  async function change(): Promise<string> {
    await put<void>(path, password ? { role, password } : { role });
    changed();
    onClose();
    return `${who.name} was changed, and must sign in again`;
  }
  async function take(): Promise<string> {
    await remove<void>(path);
    changed();
    onClose();
    return `${who.name} may not sign in any more`;
  }
  const nothing = role === who.role && password === "" && "Nothing has changed.";
  return (
    <Dialog title={`Change ${who.name}`} onClose={onClose}>
      <RoleField role={role} onRole={setRole} />
      <Password label="New password" value={password} onValue={setPassword} hint="Left empty, it stays." />
      {removing && (
        <p role="alert">
          {own ? "You would remove yourself, and be signed out. " : "Their sessions end at once. "}
          What they did stays in the audit log.
        </p>
      )}
      <div class="actions">
        {removing ? (
          <ActionButton kind="danger" act={take}>Remove {who.name} for good</ActionButton>
        ) : (
          <Button kind="danger" onClick={() => setRemoving(true)}>Remove…</Button>
        )}
        <Button onClick={onClose}>Cancel</Button>
        <ActionButton kind="primary" disabled={nothing} act={change}>Change</ActionButton>
      </div>
    </Dialog>
  );
}

function RoleField({ role, onRole }: { role: Role; onRole: (role: Role) => void }): JSX.Element {
  return <Select label="Role" value={role} onValue={(value) => onRole(value as Role)} options={ROLES} />;
}

function Password(props: {
  label: string;
  value: string;
  onValue: (value: string) => void;
  hint?: string;
  required?: boolean;
}): JSX.Element {
  const { required, ...field } = props;
  return <TextField {...field} input={{ type: "password", autocomplete: "new-password", required }} />;
}
