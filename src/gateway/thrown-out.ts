/**
 * Whether this gateway itself is thrown out, as it was told last. Sidecars believe it nothing then and end its links, so it can serve nobody: its clients
 * are to find that out at once, and go to another gateway.
 */
import { verifyPeer } from '../identity/certificate.ts'
import type { Revocation } from '../identity/revoked/revocation.ts'
import { type CallerFacts, factsOfPeer, Revocations } from '../identity/revoked/revocations.ts'
import { trustDomainOf } from '../identity/spiffe.ts'
import type { Credentials } from '../mesh/credentials.ts'
import type { Observable } from '../mesh/observable.ts'

export class OwnRevocation {
  readonly #credentials: Observable<Credentials>
  readonly #inForce: Revocations
  #facts: CallerFacts | undefined
  /** Of `#facts`. */
  #leafDer: Buffer | undefined

  constructor(credentials: Observable<Credentials>, inForce: Revocations) {
    this.#credentials = credentials
    this.#inForce = inForce
  }

  get current(): Revocation | undefined {
    return this.#inForce.find(this.#own, Date.now())
  }

  /** Of those that came into force the one that means this gateway. */
  among(added: readonly Revocation[]): Revocation | undefined {
    return Revocations.of(added).find(this.#own, Date.now())
  }

  /** By its name, and by the certificate that it shows. */
  get #own(): CallerFacts {
    const { leafDer, spiffeId, notAfterMs } = this.#credentials.current
    if (this.#facts === undefined || this.#leafDer !== leafDer) {
      // Also where it is over.
      this.#facts = factsOfPeer(verifyPeer(leafDer, notAfterMs, trustDomainOf(spiffeId)))
      this.#leafDer = leafDer
    }
    return this.#facts
  }
}
