/** Answers of the control plane, over either of its sockets. */
import { z } from 'zod'
import { RingfenceError } from '../base/errors.ts'

const wireError = z.object({ code: z.string(), message: z.string(), hint: z.string().optional() })

/** The control plane's refusal in its own words. */
export function faultOfAnswer(status: number | undefined, text: string): RingfenceError {
  const body = parseJson(text)
  const error =
    typeof body === 'object' && body !== null && 'error' in body ? wireError.safeParse(body.error) : undefined
  if (error?.success !== true) return new RingfenceError('UNAVAILABLE', `control plane answered ${status}`)
  const { code, message, hint } = error.data
  const known = (['IDENTITY', 'OVERLOADED', 'USAGE', 'CONFIG', 'TOO_LARGE'] as const).find((one) => one === code)
  return new RingfenceError(known ?? 'UNAVAILABLE', message, hint === undefined ? {} : { hint })
}

/** `undefined` for what is no JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
