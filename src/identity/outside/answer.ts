/** What another server says over HTTPS, as whoever opened the connection read it: whole, bounded, of that server, and without a redirect followed. */
export interface OutsideAnswer {
  readonly status: number
  /** `Content-Type` as it was sent. */
  readonly contentType: string
  /** `Retry-After` as it was sent; undefined where it was not. */
  readonly retryAfter?: string | undefined
  readonly body: Buffer
}

/** The JSON of an answer that says that it is JSON; undefined for anything else. */
export function jsonOf({ contentType, body }: OutsideAnswer): unknown {
  if (!/^application\/json\s*(?:;|$)/i.test(contentType)) return undefined
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
  } catch {
    return undefined
  }
}
