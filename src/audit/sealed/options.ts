/** What a sealed log is opened with. */
import type { Clock } from '../../base/clock.ts'
import type { RingfenceError } from '../../base/errors.ts'
import type { SegmentFiles } from './files.ts'
import type { Certifier } from './log-key.ts'
import type { NoteKey } from './note.ts'

/** `kernel`: the operating system has it, so that it outlives the process. `disk`: the disk has it. `best-effort`: nothing waits for it. */
export const durabilities = ['kernel', 'disk', 'best-effort'] as const
export type Durability = (typeof durabilities)[number]

export interface SealedWriterOptions {
  /** Made with mode 0700 when absent. */
  readonly directory: string
  readonly proxy: string
  /** Of the log; see `originOf`. */
  readonly origin: string
  /** As it is now: it is renewed, and each segment has its word. */
  readonly certifier: () => Certifier
  readonly durability: Durability
  /** A new segment is begun when this is reached, and at each midnight UTC. */
  readonly segmentBytesMax: number
  readonly clock: Clock
  /** Called once for each failure, before the caller sees `failed`. */
  readonly onFailure?: (error: RingfenceError) => void
  /** Called when writing works again. */
  readonly onRecovery?: () => void
  /** Each one that was signed, and the key of the log. */
  readonly onCheckpoint?: (checkpoint: string, key: NoteKey) => void
  readonly files?: SegmentFiles
}
