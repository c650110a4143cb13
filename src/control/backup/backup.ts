/** `control backup` and `control restore`: the state of the control plane in one encrypted file, and back. */
import { RingfenceError } from '../../base/errors.ts'
import { readBytesIfThere, writeFileAtomically } from '../../mesh/files.ts'
import { contentOf, snapshotOf } from './content.ts'
import { type BackupAbout, type BackupSecret, isBackup, sealBackup } from './sealed.ts'

/** JSON in base64 has to fit into memory several times. */
const contentBytesMax = 512 * 1024 * 1024

export interface BackupOrder {
  readonly stateDir: string
  readonly file: string
  readonly secret: BackupSecret
  readonly version: string
  readonly nowMs: number
}

/** In the place of an older backup, and of nothing else. @throws RingfenceError CONFIG */
export async function backUp({
  stateDir,
  file,
  secret,
  version,
  nowMs,
}: BackupOrder): Promise<BackupAbout & { bytes: number }> {
  const before = presentFile(file)
  if (before !== undefined && !isBackup(before)) {
    throw new RingfenceError('CONFIG', `${file} is there and is no backup, so it is not replaced`)
  }
  const snapshot = snapshotOf(stateDir)
  const content = contentOf(snapshot)
  if (content.length > contentBytesMax) {
    throw new RingfenceError('CONFIG', 'the state is larger than a backup may be (512 MiB)', {
      hint: 'stop the control plane and copy its folder, encrypted',
    })
  }
  const { schema, epoch, revision } = snapshot
  const about = { madeMs: nowMs, version, schema, epoch, revision }
  const sealed = await sealBackup(content, about, secret)
  writeFileAtomically(file, sealed, 0o600)
  return { ...about, bytes: sealed.length }
}

function presentFile(path: string): Buffer | undefined {
  try {
    return readBytesIfThere(path)
  } catch (cause) {
    throw new RingfenceError('CONFIG', `${path} cannot be read`, { cause })
  }
}
