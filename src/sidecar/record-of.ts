/** The record as the sidecar's document asks for it: lines of JSON, or sealed. */
import type { Barrier } from '../audit/event.ts'
import { Recorded } from '../audit/recorded.ts'
import { originOf } from '../audit/sealed/log-key.ts'
import { SealedRecord } from '../audit/sealed/record.ts'
import { RecordShipping, type ShippingFigures } from '../audit/sealed/shipping.ts'
import { ShownCheckpoints } from '../audit/sealed/shown.ts'
import { SealedWriter } from '../audit/sealed/writer.ts'
import { type AuditFigures, AuditWriter } from '../audit/writer.ts'
import { systemClock } from '../base/clock.ts'
import { nothingEnds, unawaited } from '../base/contained.ts'
import type { CollectAnswer, CollectRequest } from '../mesh/collection.ts'
import type { Credentials } from '../mesh/credentials.ts'
import type { WitnessAnswer, WitnessRequest } from '../mesh/witness.ts'
import type { Logger } from '../telemetry/log.ts'
import type { SidecarConfig } from './config.ts'

/** One file of lines, or one segment, has at most so much and a little more. */
const fileBytesMax = { lines: 256 * 1024 * 1024, sealed: 64 * 1024 * 1024 }

export interface RecordOptions {
  readonly config: SidecarConfig
  readonly directory: string
  readonly credentials: () => Credentials
  readonly log: Logger
  /** Shows each checkpoint of a sealed record to the control plane; none is shown where it is not given. */
  readonly askWitness: ((request: WitnessRequest) => Promise<WitnessAnswer>) | undefined
  /** Hands a sealed record over to the control plane, where the document says so. */
  readonly collect: ((request: CollectRequest) => Promise<CollectAnswer>) | undefined
  /** Of the policy in force. */
  readonly revision: () => number
}

export interface TransactionRecord {
  readonly barrier: Barrier
  readonly figures: AuditFigures
  /** Undefined where it is not collected. */
  readonly shipping: ShippingFigures | undefined
  close(): void
}

/** @throws RingfenceError UNAVAILABLE where it cannot be written */
export function recordOf({
  config,
  directory,
  credentials,
  log,
  askWitness,
  collect,
  revision,
}: RecordOptions): TransactionRecord {
  const told = {
    directory,
    proxy: config.name,
    clock: systemClock,
    onFailure: (error: Error) =>
      log.error({ err: error }, 'the audit cannot be written; nothing is forwarded until it can'),
    onRecovery: () => log.info('the audit can be written again'),
  }
  const { format = 'lines', durability = 'kernel' } = config.audit
  if (format === 'lines') {
    const writer = new AuditWriter({ ...told, fileBytesMax: fileBytesMax.lines })
    return shownAs(writer, new Recorded(writer, revision))
  }
  const origin = originOf(credentials().spiffeId)
  const segmentBytesMax = fileBytesMax.sealed
  const shown =
    askWitness &&
    new ShownCheckpoints({
      directory,
      ask: askWitness,
      onRefused: (why) =>
        log.error({ why }, 'the witness refuses the record of this sidecar: it is not what was shown before'),
    })
  const shipping = shippingOf({ config, directory, collect, log })
  const writer = new SealedWriter({
    ...told,
    origin,
    certifier: credentials,
    durability,
    segmentBytesMax,
    onCheckpoint: (checkpoint, key) => {
      // What the witness does not know is not collected.
      const told = async (): Promise<void> => {
        await shown?.show(checkpoint, key)
        await shipping?.signed(checkpoint, key)
      }
      unawaited(nothingEnds, 'a checkpoint for the control plane', told())
    },
  })
  return shownAs(writer, new SealedRecord(writer, revision, durability === 'disk'), shipping)
}

function shippingOf({
  config,
  directory,
  collect,
  log,
}: Pick<RecordOptions, 'config' | 'directory' | 'collect' | 'log'>): RecordShipping | undefined {
  if (collect === undefined || config.audit.collect !== true) return undefined
  const { keepMegabytesMax } = config.audit
  return new RecordShipping({
    directory,
    ask: collect,
    keepBytesMax: keepMegabytesMax === undefined ? undefined : keepMegabytesMax * 1_000_000,
    onRefused: (why) => log.error({ why }, 'the record of this sidecar is not collected; it is kept here'),
  })
}

function shownAs(
  writer: AuditWriter | SealedWriter,
  barrier: Barrier,
  shipping?: RecordShipping | undefined,
): TransactionRecord {
  return {
    barrier,
    get figures() {
      return writer.figures
    },
    get shipping() {
      return shipping?.figures
    },
    close: () => {
      shipping?.stop()
      writer.close()
    },
  }
}
