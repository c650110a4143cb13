/** A folder into which a restore did not put everything is no control plane's. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { RingfenceError } from '../../base/errors.ts'

export const unfinishedName = 'restore-unfinished'

/** @throws RingfenceError CONFIG */
export function refuseUnfinished(stateDir: string): void {
  if (!existsSync(join(stateDir, unfinishedName))) return
  throw new RingfenceError('CONFIG', `a restore into ${stateDir} was not finished`, {
    hint: 'run ringfence control restore again',
  })
}
