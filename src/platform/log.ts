import winston from 'winston';
import type { Log, LogFields } from '../ports/log.ts';
import { redacted } from './redact.ts';
import { standardError } from './standard-error.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type LogFormat = 'json' | 'text' | 'journal';

export interface LogOptions {
  level: LogLevel;
  format: LogFormat;
  /** Put on every line. */
  fields?: LogFields;
  /** Standard error when absent, so that what a command prints stays clean. */
  stream?: NodeJS.WritableStream;
}

interface Line {
  level: LogLevel;
  message: string;
  fields: Record<string, unknown>;
  time: string;
}

/**
 * One line per message. `json` for machines, `text` for people, `journal` with the `<N>` priority prefix that
 * journald reads. Secrets are hidden by the name of their field (see `redacted`).
 */
export function winstonLog(options: LogOptions): Log {
  const render = renderers[options.format];
  const logger = winston.createLogger({
    level: options.level,
    format: winston.format.printf(info => render(lineOf(info))),
    // winston's types give its transports' instances a constructor of their own, which confuses the rule.
    // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment
    transports: [new winston.transports.Stream({ stream: options.stream ?? standardError(), eol: '\n' })],
  });
  return childLog(logger, options.fields ?? {});
}

/** The format that suits where standard error goes. */
export function defaultLogFormat(
  environment: Record<string, string | undefined>,
  isTerminal: boolean,
): LogFormat {
  if (environment['JOURNAL_STREAM'] !== undefined) return 'journal';
  return isTerminal ? 'text' : 'json';
}

function childLog(logger: winston.Logger, own: LogFields): Log {
  // Fields travel under one key: winston joins a field named `message` to the message, and lets `level` replace it.
  const write = (level: LogLevel) => (message: string, fields?: LogFields) => {
    logger.log({ level, message, fields: { ...own, ...fields } });
  };
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: fields => childLog(logger, { ...own, ...fields }),
  };
}

function lineOf(info: winston.Logform.TransformableInfo): Line {
  return {
    level: info.level as LogLevel,
    message: String(info.message),
    fields: redacted(info['fields']) as Record<string, unknown>,
    time: new Date().toISOString(),
  };
}

const renderers: Readonly<Record<LogFormat, (line: Line) => string>> = {
  json: line =>
    JSON.stringify({
      ...line.fields,
      time: line.time,
      level: line.level,
      message: line.message,
    }),
  text: line =>
    `${line.time.slice(11, 23)} ${line.level.padEnd(5)} ${line.message}${fieldsText(line.fields)}`,
  journal: line => `<${priorities[line.level]}>${oneLine(line.message)}${fieldsText(line.fields)}`,
};

/** syslog(3). */
const priorities: Readonly<Record<LogLevel, number>> = { error: 3, warn: 4, info: 6, debug: 7 };

function fieldsText(fields: Record<string, unknown>): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}=${valueText(value)}`)
    .join('');
}

function valueText(value: unknown): string {
  if (typeof value === 'string') return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
  if (isErrorShape(value)) return JSON.stringify(errorText(value));
  return JSON.stringify(value);
}

function oneLine(text: string): string {
  return text.replaceAll('\n', ' ');
}

interface ErrorShape {
  name: string;
  message: string;
  stack: unknown;
  cause?: unknown;
}

function isErrorShape(value: unknown): value is ErrorShape {
  return value !== null && typeof value === 'object' && 'stack' in value && 'message' in value;
}

/** People get the chain of causes in words; the stacks are in the JSON format. */
function errorText(error: ErrorShape): string {
  const cause = isErrorShape(error.cause) ? ` (because: ${errorText(error.cause)})` : '';
  return error.message + cause;
}
