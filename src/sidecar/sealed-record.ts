/** The sealed record of a sidecar, and the witness that is shown its checkpoints. */

import { originOf } from '../audit/sealed/log-key.ts'
import type { SealedWriterOptions } from '../audit/sealed/options.ts'
import { SealedRecord } from '../audit/sealed/record.ts'
import { RecordShipping } from '../audit/sealed/shipping.ts'
import { ShownCheckpoints } from '../audit/sealed/shown.ts'
import { SealedWriter } from '../audit/sealed/writer.ts'
import { nothingEnds, unawaited } from '../base/contained.ts'
import type { CollectAnswer, CollectRequest } from '../mesh/collection.ts'
import type { Credentials } from '../mesh/credentials.ts'
import type { WitnessAnswer, WitnessRequest } from '../mesh/witness.ts'
import type { Logger } from '../telemetry/log.ts'

export interface SealedRecordOptions extends Omit<SealedWriterOptions, 'origin' | 'certifier' | 'onCheckpoint'> {
  readonly credentials: () => Credentials
  readonly log: Logger
  /** None is shown where it is not given. */
  readonly askWitness: ((request: WitnessRequest) => Promise<WitnessAnswer>) | undefined
  /** The record is handed over so; it is kept here where this is not given. */
  readonly collect: ((request: CollectRequest) => Promise<CollectAnswer>) | undefined
  /** What was handed over stays here up to so much. */
  readonly keepBytesMax: number | undefined
  /** Of the policy in force. */
  readonly revision: () => number
}

interface SealedParts {
  readonly writer: SealedWriter
  readonly barrier: SealedRecord
  readonly shipping: RecordShipping | undefined
  /** Resolves when the control plane has said something to the last checkpoint, and to what it was signed for. */
  readonly told: () => Promise<void>
}

/** @throws RingfenceError UNAVAILABLE where it cannot be written */
export function sealedRecordOf(options: SealedRecordOptions): SealedParts {
  const { credentials, log, askWitness, collect, keepBytesMax, revision, ...told } = options
  const { directory } = told
  const shown =
    askWitness &&
    new ShownCheckpoints({
      directory,
      ask: askWitness,
      onRefused: (why) =>
        log.error({ why }, 'the witness refuses the record of this sidecar: it is not what was shown before'),
    })
  const shipping =
    collect &&
    new RecordShipping({
      directory,
      ask: collect,
      keepBytesMax,
      onRefused: (why) => log.error({ why }, 'the record of this sidecar is not collected; it is kept here'),
    })
  let last = Promise.resolve()
  const writer = new SealedWriter({
    ...told,
    origin: originOf(credentials().spiffeId),
    certifier: credentials,
    onCheckpoint: (checkpoint, key) => {
      // What the witness does not know is not collected.
      const tell = async (): Promise<void> => {
        await shown?.show(checkpoint, key)
        await shipping?.signed(checkpoint, key)
      }
      last = tell()
      unawaited(nothingEnds, 'a checkpoint for the control plane', last)
    },
  })
  return { told: () => last, writer, barrier: new SealedRecord(writer, revision, told.durability === 'disk'), shipping }
}
