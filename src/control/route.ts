/** What a line of the route table says, whichever way it is served: over the socket or over HTTPS. */
import type { z } from 'zod'
import { RingfenceError } from '../base/errors.ts'
import type { Admit, Caller } from './callers.ts'
import type { SendLine } from './publisher.ts'

export type Method = 'GET' | 'POST' | 'PUT'

/** One line of the table. The service never sees another caller than `who` lets through, nor input that `input` does not take. */
export interface Route {
  readonly method: Method
  readonly path: string
  /** Longest body; a server's own bound where it is not said. */
  readonly bodyBytesMax?: number | undefined
  readonly output?: z.ZodType | undefined
  /** Its body is a form, and its faults are those of OAuth; what it answers is a secret of its caller. */
  readonly isOauth?: boolean | undefined
  /** Before a body is read. @throws RingfenceError IDENTITY where the caller may not */
  admit(caller: Caller): Admitted
}

export type Admitted =
  | {
      readonly kind: 'answer'
      /** Undefined: there is nothing to say. @throws RingfenceError */
      answer(input: unknown): Promise<unknown>
    }
  | {
      readonly kind: 'stream'
      /** The stream ends by then. */
      readonly notAfterMs: number
      /** Sends lines until the result is called. */
      open(send: SendLine): () => void
    }

interface Line<C extends Caller> {
  readonly path: string
  readonly who: Admit<C>
}

/** A question with one answer. A GET has its input in the query, the others in the body. */
export function route<C extends Caller, I, O>(
  line: Line<C> & {
    readonly method: Method
    readonly input: z.ZodType<I>
    readonly output: z.ZodType<O>
    readonly service: (caller: C, input: I) => O | Promise<O>
    /** Notes that the caller is there, whatever its body says. */
    readonly heard?: (caller: C) => void
    readonly bodyBytesMax?: number
    readonly isOauth?: true
  },
): Route {
  const { method, path, who, input, output, service, heard, bodyBytesMax, isOauth } = line
  return {
    method,
    path,
    bodyBytesMax,
    output,
    isOauth,
    admit(caller) {
      const admitted = who(caller)
      heard?.(admitted)
      return { kind: 'answer', answer: async (given) => service(admitted, parsed(input, given)) }
    },
  }
}

/** Lines without an end. */
export function streamRoute<C extends Caller>(
  line: Line<C> & {
    readonly service: (caller: C, send: SendLine) => () => void
    readonly notAfterMs: (caller: C) => number
  },
): Route {
  const { path, who, service, notAfterMs } = line
  return {
    method: 'GET',
    path,
    admit(caller) {
      const admitted = who(caller)
      return { kind: 'stream', notAfterMs: notAfterMs(admitted), open: (send) => service(admitted, send) }
    },
  }
}

/** @throws RingfenceError USAGE naming the first field that does not fit */
function parsed<T>(schema: z.ZodType<T>, given: unknown): T {
  const result = schema.safeParse(given)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  throw new RingfenceError(
    'USAGE',
    `request is not understood: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`.trim(),
  )
}
