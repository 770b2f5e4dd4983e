/** Spans, moments and sizes for people, in their language. */

const DAY = 24 * 3600;

/** Turns numbers into texts of one language, a BCP 47 tag; the browser's own if it is none. */
export class Format {
  private readonly locale: string | undefined;

  constructor(language: string) {
    const tag = language.replaceAll("_", "-");
    this.locale = supported(tag) ? tag : undefined;
  }

  private unit(number: number, unit: string, digits = 0): string {
    const options: Intl.NumberFormatOptions = { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: digits };
    return new Intl.NumberFormat(this.locale, options).format(number);
  }

  /** Seconds as "45 sec", "4 min 30 sec", "1 hr 20 min", "2 days 4 hr": seconds only in the last five minutes. */
  span(seconds: number): string {
    const whole = Math.max(0, Math.floor(seconds));
    const [days, hours, minutes] = [Math.floor(whole / DAY), Math.floor(whole / 3600), Math.floor(whole / 60)];
    if (hours >= 48) return `${this.unit(days, "day")} ${this.unit(hours - 24 * days, "hour")}`;
    if (hours) return `${this.unit(hours, "hour")} ${this.unit(minutes - 60 * hours, "minute")}`;
    if (minutes >= 5) return this.unit(minutes, "minute");
    const rest = this.unit(whole - 60 * minutes, "second");
    return minutes ? `${this.unit(minutes, "minute")} ${rest}` : rest;
  }

  /** Hours as they are asked for: "1.5 hr". */
  hours(hours: number): string {
    return this.unit(hours, "hour", 1);
  }

  /** "14:20" of today, else with the day. */
  clock(ms: number, now: number): string {
    const time: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
    const today = new Date(ms).toDateString() === new Date(now).toDateString();
    const options: Intl.DateTimeFormatOptions = today ? time : { ...time, weekday: "short", day: "numeric", month: "short" };
    return new Intl.DateTimeFormat(this.locale, options).format(ms);
  }

  /** Bytes as "2.1 GB"; a GB is 10**9 bytes, as in the catalogue. */
  bytes(bytes: number): string {
    const gb = bytes / 1e9;
    if (gb < 1) return this.unit(bytes / 1e6, "megabyte");
    return this.unit(gb, "gigabyte", gb < 100 ? 1 : 0);
  }

  /** "37%". */
  percent(percent: number): string {
    return new Intl.NumberFormat(this.locale, { style: "percent" }).format(percent / 100);
  }

  /** A plain number, with one digit after the point. */
  number(number: number): string {
    return new Intl.NumberFormat(this.locale, { maximumFractionDigits: 1 }).format(number);
  }
}

function supported(tag: string): boolean {
  try {
    return Intl.DateTimeFormat.supportedLocalesOf(tag).length > 0;
  } catch {
    return false; // "default", which is JupyterLab's word for none
  }
}
