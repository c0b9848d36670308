// See web_requests.h.
#include "src/os/web_requests.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "src/base/assert.h"
#include "src/os/owned_fd.h"

namespace baton {

namespace {

constexpr size_t kBodyLimit = size_t{1} << 20U;
constexpr int kLookMs = 1000;
constexpr Duration kEndLimit = 1s;
constexpr size_t kMostWaiting = 1000;

struct CurlEnd {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};

struct ListEnd {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

struct Transfer {
  WebRequest request;
  WebRequests::Callback callback;
  std::unique_ptr<CURL, CurlEnd> handle;
  std::unique_ptr<curl_slist, ListEnd> words;  // headers, or who gets the mail
  size_t mail_sent = 0;                        // bytes of it
  std::array<char, CURL_ERROR_SIZE> error{};
  WebAnswer answer;
  bool full = false;  // more came than anybody looks at
  int no_socket = 0;  // why the last one could not be made
};

curl_socket_t open_socket(void* where, curlsocktype, curl_sockaddr* address) {
  const int made = ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  if (made < 0) static_cast<Transfer*>(where)->no_socket = errno;
  return made;
}

size_t take_body(char* data, size_t, size_t count, void* where) {
  auto& transfer = *static_cast<Transfer*>(where);
  const size_t room = kBodyLimit - transfer.answer.body.size();
  transfer.answer.body.append(data, std::min(room, count));
  transfer.full = count > room;
  return transfer.full ? 0 : count;
}

size_t give_mail(char* into, size_t, size_t room, void* where) {
  auto& transfer = *static_cast<Transfer*>(where);
  const std::string_view left = std::string_view(transfer.request.mail->text).substr(transfer.mail_sent);
  const size_t count = std::min(room, left.size());
  std::copy_n(left.begin(), count, into);
  transfer.mail_sent += count;
  return count;
}

/// The last thing that it says is done is the mail (its good-bye has another number).
size_t take_mail_answer(char* data, size_t, size_t count, void* where) {
  const std::string_view line(data, count);
  if (line.starts_with("250 ")) static_cast<Transfer*>(where)->answer.body = line.substr(0, line.find_first_of("\r\n"));
  return count;
}

void add_word(Transfer& transfer, const std::string& word) {
  transfer.words.reset(curl_slist_append(transfer.words.release(), word.c_str()));
}

void prepare_post(Transfer& transfer, CURL* handle) {
  add_word(transfer, "Content-Type: application/json");
  add_word(transfer, "Expect:");  // not in two steps
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, transfer.words.get());
  curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(transfer.request.json->size()));
  curl_easy_setopt(handle, CURLOPT_POSTFIELDS, transfer.request.json->data());
}

void prepare_mail(Transfer& transfer, CURL* handle) {
  const WebMail& mail = *transfer.request.mail;
  for (const std::string& recipient : mail.to) add_word(transfer, "<" + recipient + ">");
  curl_easy_setopt(handle, CURLOPT_MAIL_FROM, ("<" + mail.from + ">").c_str());
  curl_easy_setopt(handle, CURLOPT_MAIL_RCPT, transfer.words.get());
  if (mail.start_tls) curl_easy_setopt(handle, CURLOPT_USE_SSL, static_cast<long>(CURLUSESSL_ALL));  // NOLINT(google-runtime-int)
  curl_easy_setopt(handle, CURLOPT_UPLOAD, 1L);
  curl_easy_setopt(handle, CURLOPT_READFUNCTION, give_mail);
  curl_easy_setopt(handle, CURLOPT_READDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, take_mail_answer);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, &transfer);
}

/// What a socket says when something is wanting on this side.
bool is_own_error(int error) {
  switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case EADDRNOTAVAIL:
    case ENETUNREACH:
    case EACCES:
    case EPERM: return true;
    default: return false;
  }
}

/// No name, no certificates, no memory: nothing that says anything about the server.
bool could_not_ask(CURLcode code, bool found, int socket_error) {
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_UNSUPPORTED_PROTOCOL: return !found;  // else it is what was answered
    case CURLE_COULDNT_CONNECT: return is_own_error(socket_error);
    case CURLE_FAILED_INIT:
    case CURLE_URL_MALFORMAT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_OUT_OF_MEMORY:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ENGINE_NOTFOUND: return true;
    default: return false;
  }
}

bool prepare(Transfer& transfer) {
  transfer.handle.reset(curl_easy_init());
  CURL* handle = transfer.handle.get();
  if (handle == nullptr) return false;
  const auto limit_ms = static_cast<long>(std::max<int64_t>(1, to_ms(transfer.request.limit)));  // NOLINT(google-runtime-int)
  curl_easy_setopt(handle, CURLOPT_URL, transfer.request.url.c_str());
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, transfer.request.mail ? "smtp,smtps" : "http,https");
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_QUICK_EXIT, 1L);  // a name that nobody resolves would hold up all others
  curl_easy_setopt(handle, CURLOPT_PROXY, "");
  curl_easy_setopt(handle, CURLOPT_OPENSOCKETFUNCTION, open_socket);
  curl_easy_setopt(handle, CURLOPT_OPENSOCKETDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, limit_ms);
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, limit_ms);
  curl_easy_setopt(handle, CURLOPT_FRESH_CONNECT, 1L);
  curl_easy_setopt(handle, CURLOPT_FORBID_REUSE, 1L);
  curl_easy_setopt(handle, CURLOPT_USERAGENT, "baton");
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, transfer.error.data());
  curl_easy_setopt(handle, CURLOPT_PRIVATE, &transfer);
  if (!transfer.request.authority.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, transfer.request.authority.c_str());
  if (!transfer.request.user.empty()) {
    curl_easy_setopt(handle, CURLOPT_USERNAME, transfer.request.user.c_str());
    curl_easy_setopt(handle, CURLOPT_PASSWORD, transfer.request.password.c_str());
  }
  if (transfer.request.mail) {
    prepare_mail(transfer, handle);
  } else if (transfer.request.only_connect) {
    curl_easy_setopt(handle, CURLOPT_CONNECT_ONLY, 1L);
  } else {
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &transfer);
    if (transfer.request.json) prepare_post(transfer, handle);
  }
  return true;
}

void conclude(Transfer& transfer, CURLcode code) {
  WebAnswer& answer = transfer.answer;
  curl_off_t took_us = 0;
  curl_easy_getinfo(transfer.handle.get(), CURLINFO_TOTAL_TIME_T, &took_us);
  long status = 0;  // NOLINT(google-runtime-int)
  curl_easy_getinfo(transfer.handle.get(), CURLINFO_RESPONSE_CODE, &status);
  answer.took = std::chrono::microseconds(took_us);
  answer.status = status;
  if (code == CURLE_OK || transfer.full) {
    answer.end = WebAnswer::End::kAnswered;
    return;
  }
  curl_off_t found_us = 0;  // an address, too, is found in a microsecond at least
  curl_easy_getinfo(transfer.handle.get(), CURLINFO_NAMELOOKUP_TIME_T, &found_us);
  long socket_error = 0;  // NOLINT(google-runtime-int)
  if (code == CURLE_COULDNT_CONNECT) curl_easy_getinfo(transfer.handle.get(), CURLINFO_OS_ERRNO, &socket_error);
  if (code == CURLE_COULDNT_CONNECT && socket_error == 0) socket_error = transfer.no_socket;
  const bool not_asked = could_not_ask(code, found_us > 0, static_cast<int>(socket_error));
  answer.end = not_asked ? WebAnswer::End::kNotAsked : WebAnswer::End::kNoAnswer;
  if (code == CURLE_OPERATION_TIMEDOUT)
    answer.error = fmt::format("{} within {} ms", not_asked ? "its name was not resolved" : "no answer", to_ms(transfer.request.limit));
  else if (socket_error != 0) answer.error = errno_text(static_cast<int>(socket_error));
  else answer.error = transfer.error[0] != '\0' ? transfer.error.data() : curl_easy_strerror(code);
}

}  // namespace

/// The thread's side. Requests come through `waiting`, answers go through the door.
struct WebRequests::Shared {
  explicit Shared(EventLoop& loop) : door(loop), multi(curl_multi_init()) { BATON_ASSERT(multi != nullptr); }
  ~Shared() { curl_multi_cleanup(multi); }

  void work() {
    pthread_setname_np(pthread_self(), "web-requests");
    while (begin_waiting()) {
      int running = 0;
      curl_multi_perform(multi, &running);
      end_done();
      curl_multi_poll(multi, nullptr, 0, kLookMs, nullptr);  // or until it is woken up
    }
    for (auto& [handle, transfer] : transfers) curl_multi_remove_handle(multi, handle);
    transfers.clear();
    const std::lock_guard lock(mutex);
    ended = true;
    changed.notify_all();
  }

  /// False: the owner is gone.
  bool begin_waiting() {
    std::vector<std::shared_ptr<Transfer>> fresh;
    {
      const std::lock_guard lock(mutex);
      if (ending) return false;
      fresh.swap(waiting);
    }
    for (auto& transfer : fresh) {
      if (!prepare(*transfer)) {
        transfer->answer.error = "libcurl cannot be used";
        answer(transfer);
        continue;
      }
      curl_multi_add_handle(multi, transfer->handle.get());
      transfers[transfer->handle.get()] = transfer;
    }
    return true;
  }

  void end_done() {
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      CURL* handle = message->easy_handle;
      const CURLcode code = message->data.result;
      const auto transfer = transfers.at(handle);
      conclude(*transfer, code);
      curl_multi_remove_handle(multi, handle);
      transfers.erase(handle);
      transfer->handle.reset();
      answer(transfer);
    }
  }

  void answer(const std::shared_ptr<Transfer>& transfer) {
    door.post([transfer] { transfer->callback(transfer->answer); });
  }

  LoopDoor door;
  CURLM* multi;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::shared_ptr<Transfer>> waiting;
  bool ending = false;
  bool ended = false;
  std::unordered_map<CURL*, std::shared_ptr<Transfer>> transfers;
};

WebRequests::WebRequests(EventLoop& loop) : shared_(std::make_shared<Shared>(loop)) {}

WebRequests::~WebRequests() {
  shared_->door.close();
  if (thread_ == nullptr) return;
  std::unique_lock lock(shared_->mutex);
  shared_->ending = true;
  curl_multi_wakeup(shared_->multi);
  // Not in the midst of TLS while the program ends. What hangs (a file of certificates on a dead server) is left to itself.
  shared_->changed.wait_for(lock, kEndLimit, [this] { return shared_->ended; });
}

void WebRequests::ask(const WebRequest& request, Callback callback) {
  auto transfer = std::make_shared<Transfer>();
  transfer->request = request;
  transfer->callback = std::move(callback);
  {
    const std::lock_guard lock(shared_->mutex);
    if (shared_->waiting.size() < kMostWaiting) {
      shared_->waiting.push_back(std::move(transfer));
    } else {  // the thread hangs: what is asked now would be answered too late, if ever
      transfer->answer.error = "earlier requests have not even been begun: something hangs, perhaps a file of certificates on a dead server";
      shared_->answer(transfer);
      return;
    }
  }
  if (thread_ == nullptr) {
    thread_ = std::make_unique<WorkerThread>();
    thread_->run([shared = shared_] { shared->work(); });
  }
  curl_multi_wakeup(shared_->multi);
}

}  // namespace baton
