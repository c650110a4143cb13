import { RingfenceError } from '../../base/errors.ts'

/** What the answers of the mesh's own cannot do: refused, for a guess would be a wrong answer. */
export function unsupported(what: string): RingfenceError {
  return new RingfenceError(
    'INVALID',
    `${what} is not supported in questions that the mesh answers itself: about the schema and the topology`,
  )
}

export function invalid(message: string): RingfenceError {
  return new RingfenceError('INVALID', message)
}
