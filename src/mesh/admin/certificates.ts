/** Certificates as `/certs` shows them. */
import { X509Certificate } from 'node:crypto'

/** Of certificates one after the other in PEM. */
export function certificatesIn(pem: string): object[] {
  const parts = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  return parts.map((part) => {
    const { subject, subjectAltName, issuer, serialNumber, validFromDate, validToDate, fingerprint256 } =
      new X509Certificate(part)
    return {
      subject,
      ...(subjectAltName === undefined ? {} : { subjectAltName }),
      issuer,
      serialNumber,
      notBefore: validFromDate.toISOString(),
      notAfter: validToDate.toISOString(),
      sha256: fingerprint256,
      pem: `${part}\n`,
    }
  })
}
