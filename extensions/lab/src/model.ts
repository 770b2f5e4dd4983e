/** The notebook server's data about its session, parsed into plain data. Invalid values are left out. */

/** Why a session ends by itself: all kinds of the link and the door (a test compares them). */
export const NOTICES = ["walltime", "idle", "unopened", "access"] as const;
export type NoticeKind = (typeof NOTICES)[number];
export type MessageKind = "info" | "success" | "warning" | "error";

/** The session ends by itself `at` (epoch ms); `minutes`: the last warning step that has passed. */
export interface Notice {
  kind: NoticeKind;
  at: number;
  minutes: number;
}

/** A message to the people in the session; each id is shown once. */
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

/** One of the person's sessions. Moments are epoch ms; `budget`: GPU-hours left of the paying project; `folder`: of the
 * class that the session is for, "": it is for none. */
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
  folder: string;
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

/** The person's raised hand. `place`: in the queue, 0: `by` comes; `askedBy`: who asks to see the notebook. */
export interface Hand {
  since: number;
  place: number;
  by: string;
  askedBy: string;
}

/** A notebook that helpers may see until a time (epoch ms). */
export interface Look {
  file: string;
  until: number;
  seenBy: string[];
}

/** Help in the session's workshop; `open`: a hand can be raised now. */
export interface Help {
  open: boolean;
  hand: Hand | null;
  look: Look | null;
  trouble: string;
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
  help: Help | null;
  home: string;
  trouble: string;
}

type Fields = Record<string, unknown>;

const OF_ACCESS = /^access-(\d{1,12})$/; // id of the link's message about lost access; its seconds are the end
const LONGEST_STEP = 60; // minutes
const ACCESS_STEPS = [1, 5, 15, LONGEST_STEP];
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
  const known = NOTICES.find((one) => one === kind);
  return when === null || known === undefined ? null : { kind: known, at: when, minutes: count(minutes) ?? 0 };
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

/** A URL that is safe to open. */
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
    folder: text(told.folder),
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

function readHand(told: unknown): Hand | null {
  const { since, place, by, asked_by } = fields(told);
  const at = moment(since);
  return at === null ? null : { since: at, place: count(place) ?? 0, by: text(by), askedBy: text(asked_by) };
}

function readLook(told: unknown): Look | null {
  const { file, until, seen_by } = fields(told);
  const end = moment(until);
  if (end === null || !text(file)) return null;
  const seenBy = Array.isArray(seen_by) ? seen_by.map(text).filter(Boolean) : [];
  return { file: text(file), until: end, seenBy };
}

/** What the person has asked for in the session's workshop; null: it is not for a workshop. */
function readHelp(told: unknown): Help | null {
  if (typeof told !== "object" || told === null) return null;
  const { open, hand, look, trouble } = fields(told);
  return { open: open === true, hand: readHand(hand), look: readLook(look), trouble: text(trouble) };
}

/** What a zip of a folder would have; `whole`: it is within the limits; `left`: by kind, how many entries are left out,
 * and the paths of some. */
export interface ExportPlan {
  files: number;
  bytes: number;
  whole: boolean;
  mostFiles: number;
  mostBytes: number;
  left: [kind: string, many: number, paths: string[]][];
}

/** An answer of `api/factorygate/export`. */
export function readExportPlan(told: unknown): ExportPlan {
  const all = fields(told);
  const paths = fields(all.paths);
  const left = Object.entries(fields(all.counts)).map(([kind, many]): [string, number, string[]] => {
    const listed = paths[kind];
    return [kind, count(many) ?? 0, Array.isArray(listed) ? listed.map(text).filter(Boolean) : []];
  });
  return {
    files: count(all.files) ?? 0,
    bytes: count(all.bytes) ?? 0,
    whole: all.whole === true,
    mostFiles: count(all.most_files) ?? 0,
    mostBytes: count(all.most_bytes) ?? 0,
    left: left.filter(([, many]) => many > 0),
  };
}

/** How far a download is. */
export interface ExportProgress {
  files: number;
  bytes: number;
  state: "running" | "done" | "cut";
}

/** An answer of `api/factorygate/export/progress`. */
export function readExportProgress(told: unknown): ExportProgress {
  const { files, bytes, state } = fields(told);
  return { files: count(files) ?? 0, bytes: count(bytes) ?? 0, state: state === "done" || state === "cut" ? state : "running" };
}

/** An answer of `api/factorygate/overview`. */
export function readOverview(told: unknown): Overview {
  const all = fields(told);
  const now = moment(all.now) ?? Date.now();
  const messages = list(all.messages, readMessage);
  const read: Overview = {
    session: text(all.session),
    now,
    ends: moment(all.ends),
    notice: readNotice(all.notice),
    messages: messages.filter((message) => !OF_ACCESS.test(message.id)),
    use: readUse(all.use),
    sessions: list(all.sessions, readSession),
    clusters: list(all.clusters, readCluster),
    help: readHelp(all.help),
    home: address(all.home),
    trouble: text(all.trouble),
  };
  const access = accessEnds(read, messages);
  return access !== null && (read.notice === null || access.at < read.notice.at) ? { ...read, notice: access } : read;
}

/** That the person's access ends: the door does not know it. The gateway tells it with the session; a message says it
 * sooner, and stays when the access came back, so it counts only while the gateway does not tell of the session. */
function accessEnds(read: Overview, messages: Message[]): Notice | null {
  const session = own(read);
  if (session !== null && !read.trouble) return session.notice?.kind === "access" ? session.notice : null;
  const seconds = messages.map((message) => OF_ACCESS.exec(message.id)?.[1]).filter((found) => found !== undefined).at(-1);
  if (seconds === undefined) return null;
  const at = 1000 * Number(seconds);
  return { kind: "access", at, minutes: ACCESS_STEPS.find((minutes) => at - read.now <= 60_000 * minutes) ?? LONGEST_STEP };
}

/** The session of this page in the gateway's data; null if these lack it. */
export function own(overview: Overview): Session | null {
  return overview.sessions.find((one) => one.id === overview.session) ?? null;
}

/** When the session ends by its time, epoch ms. It ends itself a little before its job does: once that is announced
 * there must not be two times. For lack of access it ends sooner; an idle one may still be used. */
export function endOf(ends: number | null, notice: Notice | null): number | null {
  return notice?.kind === "walltime" || notice?.kind === "access" ? notice.at : ends;
}

/** The key of one step of a notice, which is shown once. */
export function step(session: string, notice: Notice): string {
  // rounded, since two sources may differ slightly
  return [session, notice.kind, notice.minutes, Math.round(notice.at / 1000)].join(" ");
}
