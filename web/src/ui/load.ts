import { useEffect, useRef, useState } from "preact/hooks";
import { type Problem, problemOf } from "../api";

export interface Loaded<T> {
  /** What was loaded last; kept while it is loaded again. */
  data: T | null;
  problem: Problem | null;
  loading: boolean;
  again: () => void;
}

/**
 * Load something when `key` changes, and give the last of it. An answer that comes after a newer
 * question is dropped; a view that is left ends its request.
 */
export function useLoad<T>(key: string, load: (signal: AbortSignal) => Promise<T>): Loaded<T> {
  const [state, setState] = useState<Omit<Loaded<T>, "again">>({ data: null, problem: null, loading: true });
  const [round, setRound] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    const controller = new AbortController();
    setState((before) => ({ ...before, loading: true }));
    latest.current(controller.signal).then(
      (data) => {
        if (!controller.signal.aborted) setState({ data, problem: null, loading: false });
      },
      (error: unknown) => {
        if (controller.signal.aborted) return;
        setState((before) => ({ data: before.data, problem: problemOf(error), loading: false }));
      },
    );
    return () => controller.abort();
  }, [key, round]);
  return { ...state, again: () => setRound((n) => n + 1) };
}
