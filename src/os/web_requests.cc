// See web_requests.h.
#include "src/os/web_requests.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <pthread.h>

#include <array>
#include <cstring>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "src/os/worker_thread.h"

namespace baton {

namespace {

constexpr size_t kBodyLimit = size_t{1} << 20U;
constexpr int kSleepMs = 1000;

struct CurlEnd {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};

struct Transfer {
  WebRequest request;
  WebRequests::Callback callback;
  std::unique_ptr<CURL, CurlEnd> handle;
  std::array<char, CURL_ERROR_SIZE> error{};
  WebAnswer answer;
  bool full = false;  // more came than anybody looks at
};

size_t take_body(char* data, size_t, size_t count, void* where) {
  auto& transfer = *static_cast<Transfer*>(where);
  const size_t room = kBodyLimit - transfer.answer.body.size();
  transfer.answer.body.append(data, std::min(room, count));
  transfer.full = count > room;
  return transfer.full ? 0 : count;
}

/// No name, no certificates, no memory: nothing that says anything about the server.
bool could_not_ask(CURLcode code) {
  switch (code) {
    case CURLE_UNSUPPORTED_PROTOCOL:
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
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_PROXY, "");
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, limit_ms);
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, limit_ms);
  curl_easy_setopt(handle, CURLOPT_FRESH_CONNECT, 1L);
  curl_easy_setopt(handle, CURLOPT_FORBID_REUSE, 1L);
  curl_easy_setopt(handle, CURLOPT_USERAGENT, "baton-monitor");
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, transfer.error.data());
  curl_easy_setopt(handle, CURLOPT_PRIVATE, &transfer);
  if (!transfer.request.authority.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, transfer.request.authority.c_str());
  if (transfer.request.only_connect) {
    curl_easy_setopt(handle, CURLOPT_CONNECT_ONLY, 1L);
  } else {
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &transfer);
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
  long system_error = 0;  // NOLINT(google-runtime-int)
  if (code == CURLE_COULDNT_CONNECT) curl_easy_getinfo(transfer.handle.get(), CURLINFO_OS_ERRNO, &system_error);
  answer.end = could_not_ask(code) ? WebAnswer::End::kNotAsked : WebAnswer::End::kNoAnswer;
  answer.error = code == CURLE_OPERATION_TIMEDOUT ? fmt::format("no answer within {} ms", to_ms(transfer.request.limit))
                 : system_error != 0              ? std::string(std::strerror(static_cast<int>(system_error)))
                 : transfer.error[0] != '\0'      ? std::string(transfer.error.data())
                                                  : std::string(curl_easy_strerror(code));
}

}  // namespace

/// The thread's side. Requests come through `waiting`, answers go through the door.
struct WebRequests::Shared {
  explicit Shared(EventLoop& loop) : door(loop), multi(curl_multi_init()) {}
  ~Shared() { curl_multi_cleanup(multi); }

  void work() {
    pthread_setname_np(pthread_self(), "web-requests");
    while (begin_waiting()) {
      int running = 0;
      curl_multi_perform(multi, &running);
      end_done();
      if (transfers.empty()) {
        curl_multi_poll(multi, nullptr, 0, kSleepMs * 3600, nullptr);  // until it is woken up
      } else {
        curl_multi_poll(multi, nullptr, 0, kSleepMs, nullptr);
      }
    }
    for (auto& [handle, transfer] : transfers) curl_multi_remove_handle(multi, handle);
    transfers.clear();
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
  std::vector<std::shared_ptr<Transfer>> waiting;
  bool ending = false;
  std::unordered_map<CURL*, std::shared_ptr<Transfer>> transfers;
  std::thread thread;
};

WebRequests::WebRequests(EventLoop& loop) : shared_(std::make_shared<Shared>(loop)) {}

WebRequests::~WebRequests() {
  shared_->door.close();
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->ending = true;
  }
  curl_multi_wakeup(shared_->multi);
  if (shared_->thread.joinable()) shared_->thread.detach();  // a name that is being looked up may take long: it owns what it uses
}

void WebRequests::ask(const WebRequest& request, Callback callback) {
  auto transfer = std::make_shared<Transfer>();
  transfer->request = request;
  transfer->callback = std::move(callback);
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->waiting.push_back(std::move(transfer));
  }
  if (!shared_->thread.joinable()) shared_->thread = std::thread([shared = shared_] { shared->work(); });
  curl_multi_wakeup(shared_->multi);
}

}  // namespace baton
