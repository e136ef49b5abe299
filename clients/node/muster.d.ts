/// <reference types="node" />
// Times are milliseconds. Errors are MusterError, or the reason of an AbortSignal.
import { EventEmitter } from 'events';

/** Any value that JSON can write, up to 1 MiB of it. */
export type Body = unknown;

/** An op with its body in the other fields, or the JSON text of such an object. */
export type Message = { op: string; [field: string]: unknown } | string;

export class MusterError extends Error {
  /** E-…; `muster explain CODE` says more. */
  code: string;
  fix?: string;
  /** Whose reply it was. */
  from?: string;
}

export interface Options {
  /** Answers of ops, there from the first moment on. */
  handlers?: Record<string, Handler>;
  /** Run alone, also under muster. */
  off?: boolean;
  /** Where failures of handlers go; default: console.error. */
  log?: (...args: unknown[]) => void;
  /** Asked before each heartbeat: false withholds it. */
  alive?: () => boolean;
  /** What onStop listens to; default: SIGTERM and SIGINT. */
  stopSignals?: NodeJS.Signals[];
  /** How long the hooks of onStop may take; default: 10000. */
  stopTimeout?: number;
  /** Who speaks, for people. */
  sdk?: string;
}

/** How muster reaches this process; open() finds it by itself. */
export interface Wire {
  /** Whether frames can leave. */
  open: boolean;
  /** Refuses requests with E-CHANNEL-FULL when too much waits. */
  waiting: { check(size: number): void };
  start(on: {
    frame(cmd: string, frame: object | undefined): void;
    message(value: unknown): void;
    draining(): void;
    end(): void;
  }): void;
  send(frame: object, size: number): void;
}

export interface Settings {
  heartbeat_ms: number;
  console_dir?: string;
  console_port?: number;
  changes?: string[];
}

export interface Welcome extends Settings {
  project: string;
  node: string;
  name: string;
  app?: string;
  role?: string;
  tags?: string[];
  slot: number;
  agent: number;
  epoch: number;
}

export interface Request {
  op: string;
  /** web#1, client:NAME, or muster. */
  from: string;
  pid?: number;
  /** Of a published message. */
  channel?: string;
  /** What was left of the asker's time. */
  within?: number;
  /** A reply is waited for. */
  asked: boolean;
  /** Aborted when the asker waits no more. */
  readonly signal: AbortSignal;
}

export type Handler = (body: any, request: Request) => unknown;

export interface AskOptions {
  /** Default 30000, at most 24 h. */
  within?: number;
  signal?: AbortSignal;
}

export interface Answer {
  from: string;
  pid?: number;
  body?: any;
  error?: MusterError;
  /** It has not answered; error says why. */
  missing?: true;
}

export interface Gathering extends AsyncIterable<Answer> {
  all(): Promise<{ answers: Answer[]; asked: number; replied: number; missing: Record<string, string> }>;
  /** There after the end. */
  asked?: number;
  replied?: number;
  missing?: Record<string, string>;
}

export interface Receivers {
  receivers: number;
  missed?: string[];
}

export interface Peer {
  name: string;
  app?: string;
  role?: string;
  pid: number;
  ready: boolean;
}

export interface Command {
  name: string;
  pattern?: string;
  help?: string;
  of?: string[];
}

export interface Taken {
  allowed: boolean;
  /** Exact time until the same would be allowed. */
  wait: number;
  left: number;
  /** Why muster could not decide, with fail: 'open'. */
  error?: Error;
}

export interface Limiter {
  take(key?: string, options?: { tokens?: number; signal?: AbortSignal }): Promise<Taken>;
  allow(key?: string): Promise<boolean>;
  wait(key?: string, options?: { tokens?: number; within?: number; signal?: AbortSignal }): Promise<Taken>;
}

export interface Held {
  readonly name: string;
  readonly token: string;
  /** Grows with every new owner. */
  readonly fence: number;
  /** Aborted when it is not held any more. */
  readonly lost: AbortSignal;
  release(): Promise<boolean>;
}

export interface Lock {
  readonly name: string;
  acquire(options?: { wait?: number; signal?: AbortSignal }): Promise<Held>;
  tryAcquire(): Promise<Held | null>;
  run<T>(f: (held: Held) => T | Promise<T>, options?: { wait?: number; signal?: AbortSignal }): Promise<T>;
}

export interface Counter {
  add(n?: number): Promise<number>;
  get(): Promise<number>;
}

export interface Cache<V = any> {
  readonly name: string;
  get(key: string): V | undefined;
  set(key: string, value: V, ttl?: number): void;
  fill(key: string, f: (key: string) => V | Promise<V>, options?: { ttl?: number }): Promise<V>;
  del(key: string): Promise<void>;
  drop(): Promise<void>;
  close(): void;
  readonly stats: { len: number; hits: number; misses: number; fills: number; evicted: number; expired: number; removed: number };
}

export class Worker extends EventEmitter {
  constructor(wire: Wire | null, options?: Options, why?: string);
  /** Why it runs without muster; '' if it does not. */
  readonly alone: string;
  readonly app: string;
  /** web#0, after the welcome. */
  readonly name?: string;
  readonly welcome?: Welcome;
  readonly settings?: Settings;
  readonly draining: AbortSignal;
  readonly counts: { unreadable: number; late: number; dropped: number };

  hello(): Promise<Welcome>;
  request(to: string, op: string, body?: Body, options?: AskOptions): Promise<any>;
  request(to: string, message: Message, options?: AskOptions): Promise<any>;
  gather(to: string, op: string, body?: Body, options?: AskOptions): Gathering;
  gather(to: string, message: Message, options?: AskOptions): Gathering;
  tell(to: string, op: string, body?: Body): Promise<Receivers>;
  tell(to: string, message: Message): Promise<Receivers>;
  send(to: string, op: string, body?: Body): void;
  send(to: string, message: Message): void;
  peers(to?: string): Promise<Peer[]>;

  handle(op: string, f: Handler): () => void;
  listen(ops: string | string[], f: Handler): Promise<() => void>;
  publish(channel: string, message: Body, options?: { op?: string; self?: boolean; quick?: false }): Promise<Receivers>;
  publish(channel: string, message: Body, options: { op?: string; self?: boolean; quick: true }): Promise<void>;
  subscribe(channel: string, f: Handler, options?: { queue?: string }): Promise<() => void>;

  ready(): void;
  status(text: string): void;
  lifecycle(text: string): void;
  onStop(f: (cause: Error | null) => unknown): () => void;
  kill(options?: { reason?: string; graceful?: boolean; exitCode?: number; agent?: boolean }): Promise<any>;
  restart(options?: { selector?: string; reason?: string }): Promise<any>;
  reload(options?: { selector?: string; reason?: string }): Promise<any>;
  apps(): Promise<any>;
  setPort(options: { app?: string; name: string; port: number; now?: boolean }): Promise<any>;
  setProbe(options: { app?: string; interval: number }): Promise<any>;
  configReload(): Promise<any>;
  addCommand(command: Command, f: (args: Record<string, any>) => unknown): Promise<() => void>;
  commands(): Promise<Command[]>;

  limiter(name: string, options: { rate: number; burst?: number; interval?: number; fail?: 'open' | 'closed'; patience?: number }): Limiter;
  lock(name: string, options?: { lease?: number }): Lock;
  counter(name: string): Counter;
  cache<V = any>(name: string, options?: { max?: number; ttl?: number }): Cache<V>;

  on(event: 'gap', f: (missed: number) => void): this;
  on(event: 'agent', f: (agent: { agent: number; epoch: number }) => void): this;
  on(event: 'config', f: (settings: Settings) => void): this;
  on(event: 'message', f: (value: any) => void): this;
  on(event: 'end', f: () => void): this;
  on(event: string, f: (...args: any[]) => void): this;
}

/** Takes part in operations; a second call returns the same Worker. */
export function open(options?: Options): Worker;
/** Whether muster runs this process. */
export function isWorker(): boolean;
