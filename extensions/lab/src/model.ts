/** What the notebook server tells of its session, read into plain data. Whatever is not as it must be is left out. */

export type NoticeKind = "walltime" | "idle" | "unopened";
export type MessageKind = "info" | "success" | "warning" | "error";

/** The session ends by itself `at` (epoch ms); `minutes`: the step before that was passed. */
export interface Notice {
  kind: NoticeKind;
  at: number;
  minutes: number;
}

/** Something said to whoever is in the session; shown once for each id. */
export interface Message {
  id: string;
  text: string;
  kind: MessageKind;
}

/** Percent and bytes; null: not known. */
export interface Gpu {
  name: string;
  percent: number | null;
  memory: number | null;
  memoryLimit: number | null;
}

export interface Use {
  memory: number;
  memoryLimit: number | null;
  gpus: Gpu[];
}

/** One of the person's sessions. Moments are epoch ms; `budget`: GPU-hours left of what pays for it. */
export interface Session {
  id: string;
  server: string;
  state: string;
  machine: string;
  size: string;
  url: string;
  ends: number | null;
  notice: Notice | null;
  extendHours: number;
  position: number | null;
  budget: number | null;
}

/** A cluster of workers; `counts`: how many jobs are in each state. */
export interface Cluster {
  id: string;
  name: string;
  state: string;
  machine: string;
  size: string;
  counts: [string, number][];
}

export interface Overview {
  session: string;
  now: number;
  ends: number | null;
  notice: Notice | null;
  messages: Message[];
  use: Use | null;
  sessions: Session[];
  clusters: Cluster[];
  home: string;
  trouble: string;
}

type Fields = Record<string, unknown>;

const NOTICES: readonly string[] = ["walltime", "idle", "unopened"];
const MESSAGES: readonly string[] = ["info", "success", "warning", "error"];

function fields(told: unknown): Fields {
  return typeof told === "object" && told !== null ? (told as Fields) : {};
}

function text(told: unknown): string {
  return typeof told === "string" ? told : "";
}

function count(told: unknown): number | null {
  return typeof told === "number" && Number.isFinite(told) && told >= 0 ? told : null;
}

function moment(told: unknown): number | null {
  const ms = Date.parse(text(told));
  return Number.isFinite(ms) ? ms : null;
}

function list<T>(told: unknown, read: (one: Fields) => T | null): T[] {
  if (!Array.isArray(told)) return [];
  return told.map((one) => read(fields(one))).filter((one) => one !== null);
}

function readNotice(told: unknown): Notice | null {
  const { kind, at, minutes } = fields(told);
  const when = moment(at);
  if (when === null || !NOTICES.includes(text(kind))) return null;
  return { kind: kind as NoticeKind, at: when, minutes: count(minutes) ?? 0 };
}

function readMessage({ id, text: said, kind }: Fields): Message | null {
  if (!text(id) || !text(said)) return null;
  return { id: text(id), text: text(said), kind: MESSAGES.includes(text(kind)) ? (kind as MessageKind) : "info" };
}

function readGpu(told: Fields): Gpu {
  const { name, percent, memory, memory_limit } = told;
  return { name: text(name), percent: count(percent), memory: count(memory), memoryLimit: count(memory_limit) };
}

function readUse(told: unknown): Use | null {
  const { memory, memory_limit, gpus } = fields(told);
  const used = count(memory);
  return used === null ? null : { memory: used, memoryLimit: count(memory_limit), gpus: list(gpus, readGpu) };
}

/** An address to go to, and no script. */
function address(told: unknown): string {
  const found = text(told);
  return /^(https?:\/\/|\/(?!\/))/.test(found) ? found : "";
}

function readSession(told: Fields): Session | null {
  const id = text(told.id);
  if (!id) return null;
  return {
    id,
    server: text(told.server),
    state: text(told.state),
    machine: text(told.machine),
    size: text(told.size),
    url: address(told.url),
    ends: moment(told.ends),
    notice: readNotice(told.notice),
    extendHours: count(told.extend_hours) ?? 0,
    position: count(told.position),
    budget: count(told.budget_left),
  };
}

function readCluster(told: Fields): Cluster | null {
  const id = text(told.id);
  if (!id) return null;
  const counts = Object.entries(fields(told.counts)).map(([state, number]): [string, number] => [state, count(number) ?? 0]);
  return {
    id,
    name: text(told.name) || id,
    state: text(told.state),
    machine: text(told.machine),
    size: text(told.size),
    counts: counts.filter(([, number]) => number > 0),
  };
}

/** An answer of `api/factorygate/overview`. */
export function readOverview(told: unknown): Overview {
  const all = fields(told);
  return {
    session: text(all.session),
    now: moment(all.now) ?? Date.now(),
    ends: moment(all.ends),
    notice: readNotice(all.notice),
    messages: list(all.messages, readMessage),
    use: readUse(all.use),
    sessions: list(all.sessions, readSession),
    clusters: list(all.clusters, readCluster),
    home: address(all.home),
    trouble: text(all.trouble),
  };
}

/** The session that this page is open in, as the gateway has it; null while that does not tell. */
export function own(overview: Overview): Session | null {
  return overview.sessions.find((one) => one.id === overview.session) ?? null;
}

/** When the session ends by its time, epoch ms. It ends itself a little before its job does: once that is announced
 * there must not be two times. */
export function endOf(ends: number | null, notice: Notice | null): number | null {
  return notice?.kind === "walltime" ? notice.at : ends;
}

/** Names one step of a notice: it is said once. */
export function step(session: string, notice: Notice): string {
  return [session, notice.kind, notice.minutes, notice.at].join(" ");
}
