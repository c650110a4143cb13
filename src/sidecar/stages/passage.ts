import { assert } from '../../base/errors.ts'
import type { Request } from '../request.ts'
import type { Passage } from '../rewrites.ts'
import type { Session } from './stage.ts'

/** A permitted request as those see it that rewrite it or its answer. */
export function passageOf({ opcode, judged, permit, valuesDigest }: Request, { version, identity }: Session): Passage {
  assert(judged !== undefined && permit !== undefined, 'what is rewritten is permitted')
  return { version, opcode, judged, permit, identity, valuesDigest }
}
