/**
 * `telemetry` makes what happens visible from outside: logs here, metrics and traces beside it.
 *
 * The rule one must not break: no secret, no key, no bound value and no literal of a statement is ever logged.
 */
import { type Logger as PinoLogger, pino, stdTimeFunctions } from 'pino'

export type Logger = PinoLogger

const levels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']

/** JSON lines on stderr, at the level of RINGFENCE_LOG (`info` when unset or unknown). */
export function createLogger(component: string): Logger {
  const wanted = process.env.RINGFENCE_LOG ?? 'info'
  return pino(
    {
      level: levels.includes(wanted) ? wanted : 'info',
      base: { component },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    // Synchronous, so that the last line before an exit is not lost.
    pino.destination({ dest: 2, sync: true }),
  )
}
