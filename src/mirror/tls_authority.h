// The cluster's own certificate authority. Its key follows from the cluster key, so every server that has the cluster key
// issues its own certificate and trusts the others' without anything being carried around. docs/protocol.md, "Mirror
// connect". Any thread.
#pragma once

#include <string>
#include <vector>

#include "src/base/ids.h"
#include "src/base/result.h"
#include "src/mirror/link_handshake.h"

namespace baton::mirror {

/// PEM texts of a server: what a TLS program wants to have.
struct ServerCertificate {
  std::string authority;
  std::string certificate;
  std::string private_key;
};

/// For how long a server's certificate is good, from now. For tests it can be made to have ended.
struct CertificateTime {
  int days_before = 1;     // against clocks that differ
  int days_after = 3653;
};

/// The authority's certificate: the same bytes on every server.
std::string authority_certificate(const ClusterKey& key);

/// A certificate for a new random key.
ServerCertificate issue_certificate(const ClusterKey& key, ServerId server, CertificateTime time = {});

/// Makes `directory`/{authority.pem,server.pem,server.key} (mode 0600, each replaced as a whole) unless those that are
/// there are this cluster's and this server's, belong together, and are good for another 30 days.
/// `others`: authorities that are accepted, too; `anew`: issue another certificate in any case.
Status write_certificates(const ClusterKey& key, ServerId server, const std::string& directory,
                          const std::vector<ClusterKey>& others = {}, bool anew = false);

}  // namespace baton::mirror
