/** What a stream says: what is in force at its start, then each change. */
import { Code, ConnectError } from '@connectrpc/connect'
import type { Clock } from '../../base/clock.ts'
import { after, contained, containFault, nothingEnds, timerMsMax } from '../../base/contained.ts'
import type { Credentials } from '../../mesh/credentials.ts'
import type { Observable } from '../../mesh/observable.ts'

const place = 'a stream of the Workload API'

export interface Following<T> {
  readonly credentials: Observable<Credentials>
  readonly clock: Clock
  /** Another version is another message. */
  versionOf(credentials: Credentials): string
  messageOf(credentials: Credentials): T
  /** The stream ends with the certificate, where nobody has renewed it. */
  readonly endsWithCertificate: boolean
}

/**
 * Ends with `signal`, by its reason where that is ours. A reader that is slow holds one message: what changed meanwhile, however often, is
 * told once, as it is then.
 * @throws ConnectError UNAVAILABLE where the certificate has ended; anything else is a fault of ours, and was reported
 */
export async function* follow<T>(following: Following<T>, signal: AbortSignal): AsyncGenerator<T, void> {
  const { credentials, clock, versionOf, messageOf, endsWithCertificate } = following
  let wake = (): void => {}
  const forget = credentials.observe(() => wake())
  const onAbort = contained(nothingEnds, place, () => wake())
  signal.addEventListener('abort', onAbort)
  try {
    let told: string | undefined
    while (!signal.aborted) {
      const { current } = credentials
      const leftMs = current.notAfterMs - clock.now()
      if (endsWithCertificate && leftMs <= 0)
        throw new ConnectError('the certificate has ended and was not renewed', Code.Unavailable)
      const version = versionOf(current)
      if (version !== told) {
        told = version
        yield messageOf(current)
        continue
      }
      await new Promise<void>((resolve) => {
        const timer = after(nothingEnds, place, Math.min(endsWithCertificate ? leftMs : timerMsMax, timerMsMax), () =>
          wake(),
        )
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
    if (signal.reason instanceof ConnectError) throw signal.reason
  } catch (reason) {
    if (!(reason instanceof ConnectError)) containFault(nothingEnds, place, reason)
    throw reason
  } finally {
    forget()
    signal.removeEventListener('abort', onAbort)
  }
}
