/**
 * `telemetry` makes what happens visible from outside: logs here, metrics and traces beside it.
 *
 * The rule one must not break: no secret, no key, no bound value and no literal of a statement is ever logged, and a line does nothing to
 * the terminal that it is read on.
 */
import { type DestinationStream, type Logger as PinoLogger, pino, stdTimeFunctions } from 'pino'
import { AssertionError, RingfenceError } from '../base/errors.ts'
import { printable } from '../base/printable.ts'

export type Logger = PinoLogger

const levels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']

/** JSON lines on stderr, at the level of RINGFENCE_LOG (`info` when unset or unknown). */
export function createLogger(component: string, destination: DestinationStream = standardError()): Logger {
  const wanted = process.env.RINGFENCE_LOG ?? 'info'
  return pino(
    {
      level: levels.includes(wanted) ? wanted : 'info',
      base: { component },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: errorForLog },
    },
    { write: (line) => destination.write(`${printable(line.trimEnd())}\n`) },
  )
}

function standardError(): DestinationStream {
  // Synchronous, so that the last line before an exit is not lost.
  return pino.destination({ dest: 2, sync: true })
}

/**
 * Our own errors with their words; what they carry beside (a peer's bytes, the parse error of its message) is not told. Of a stranger's
 * error only what cannot quote its input: a system error's code, else its name and where it was thrown.
 */
function errorForLog(reason: unknown): object {
  if (!(reason instanceof Error)) return { type: typeof reason }
  const code = 'code' in reason && typeof reason.code === 'string' ? { code: reason.code } : {}
  const { stack = '' } = reason
  const at = stack.slice(Math.max(0, stack.indexOf('\n    at '))).trimStart()
  const ours = reason instanceof RingfenceError || reason instanceof AssertionError || 'syscall' in reason
  const cause = reason.cause === undefined ? {} : { cause: errorForLog(reason.cause) }
  return {
    type: reason.name,
    ...code,
    ...(ours ? { message: reason.message } : {}),
    stack: stack.includes('\n    at ') ? at : '',
    ...cause,
  }
}
