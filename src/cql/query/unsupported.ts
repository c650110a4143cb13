import { RingfenceError } from '../../base/errors.ts'

/** What the answers of the mesh's own cannot do: refused, for a guess would be a wrong answer. The node might do it. */
export class Unsupported extends RingfenceError {
  constructor(what: string) {
    super(
      'INVALID',
      `${what} is not supported in questions that the mesh answers itself: about the schema and the topology`,
    )
  }
}

export function unsupported(what: string): Unsupported {
  return new Unsupported(what)
}

export function invalid(message: string): RingfenceError {
  return new RingfenceError('INVALID', message)
}
