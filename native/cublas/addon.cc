// The face of the binding to JavaScript (src/cublas.ts gives it types): finds the libraries, opens a device, checks
// every argument before a call. `provider` hands the table of cuda/blas.h to the CUDA backend. It loads on machines
// without CUDA.
#include <cstring>
#include <memory>
#include <optional>

#include "cublas/arguments.h"
#include "cublas/session.h"
#include "cublas/table.h"

namespace gradline::cublas {
namespace {

const std::vector<const char *> kTypeNames = {"float32", "float16", "bfloat16", "float64"};
constexpr int kTypes[] = {kReal32F, kReal16F, kReal16BF, kReal64F};

// Runs a body of ours; what it throws reaches JavaScript with a code that src/cublas.ts knows.
template <class Body>
auto guarded(Napi::Env env, Body body) {
  try {
    return body();
  } catch (const Failure &failure) {
    auto error = Napi::Error::New(env, failure.what());
    error.Value()["code"] = Napi::String::New(env, failure.code == kInvalidValue ? "GL_ARGUMENT" : "GL_NATIVE");
    error.Value()["status"] = Napi::Number::New(env, failure.code);
    throw error;
  } catch (const std::bad_alloc &) {
    throw Napi::Error::New(env, "out of memory");
  }
}

// Memory on the device. Freed by hand, with the device, or when nothing holds it any more.
class Buffer : public Napi::ObjectWrap<Buffer> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "DeviceBuffer",
                       {InstanceAccessor<&Buffer::bytes>("bytes"), InstanceMethod<&Buffer::write>("write"),
                        InstanceMethod<&Buffer::read>("read"), InstanceMethod<&Buffer::free>("free")});
  }
  explicit Buffer(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Buffer>(info) {}
  ~Buffer() override {
    try {
      release();
    } catch (const Failure &) {
      // The driver may be gone before the last object is.
    }
  }

  void take(std::shared_ptr<Session> session, size_t size) {
    address_ = session->alloc(size);
    session_ = std::move(session);
    size_ = size;
  }
  const Session *session() const { return session_.get(); }
  char *address() const {
    if (!session_) throw Failure(kInvalidValue, "the memory has been freed");
    session_->queue();  // throws when the device is closed, which frees its memory
    return static_cast<char *>(address_);
  }
  size_t size() const { return size_; }

 private:
  Napi::Value bytes(const Napi::CallbackInfo &info) {
    return Napi::Number::New(info.Env(), session_ ? static_cast<double>(size_) : 0);
  }
  // (data: view or buffer, byteOffset = 0)
  std::pair<uint8_t *, size_t> range(const Napi::CallbackInfo &info, const char *name, char *&at) {
    const Napi::Value data = info[0];
    uint8_t *bytes = nullptr;
    size_t length = 0;
    if (data.IsTypedArray()) {
      const auto view = data.As<Napi::TypedArray>();
      bytes = static_cast<uint8_t *>(view.ArrayBuffer().Data()) + view.ByteOffset();
      length = view.ByteLength();
    } else if (data.IsArrayBuffer()) {
      bytes = static_cast<uint8_t *>(data.As<Napi::ArrayBuffer>().Data());
      length = data.As<Napi::ArrayBuffer>().ByteLength();
    } else {
      throw Failure(kInvalidValue, std::string("Expected a typed array or an ArrayBuffer for data of ") + name);
    }
    double offset = 0;
    if (info.Length() > 1 && !info[1].IsUndefined()) {
      offset = info[1].IsNumber() ? info[1].As<Napi::Number>().DoubleValue() : -1;
    }
    at = address();
    if (!(offset >= 0) || offset != std::floor(offset) ||
        offset + static_cast<double>(length) > static_cast<double>(size_)) {
      throw Failure(kInvalidValue, std::string(name) + " of " + std::to_string(length) + " bytes at offset " +
                                       info[1].ToString().Utf8Value() + " leaves the memory of " +
                                       std::to_string(size_) + " bytes");
    }
    at += static_cast<size_t>(offset);
    return {bytes, length};
  }
  void write(const Napi::CallbackInfo &info) {
    guarded(info.Env(), [&] {
      char *at;
      const auto [data, length] = range(info, "write", at);
      session_->write(at, data, length);
    });
  }
  Napi::Value read(const Napi::CallbackInfo &info) {
    return guarded(info.Env(), [&] {
      char *at;
      const auto [data, length] = range(info, "read", at);
      session_->read(data, at, length);
      return info[0];
    });
  }
  void free(const Napi::CallbackInfo &info) {
    guarded(info.Env(), [&] { release(); });
  }
  void release() {
    if (const auto session = std::move(session_)) session->free(address_);
  }

  std::shared_ptr<Session> session_;
  void *address_ = nullptr;
  size_t size_ = 0;
};

struct Classes {
  Napi::FunctionReference device, buffer;
};

// Part of a buffer that a call reads or writes.
struct Place {
  char *from = nullptr;
  size_t bytes = 0;
  bool overlaps(const Place &other) const { return from < other.from + other.bytes && other.from < from + bytes; }
};

class Device : public Napi::ObjectWrap<Device> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(
        env, "Device",
        {InstanceMethod<&Device::alloc>("alloc"), InstanceMethod<&Device::sgemm>("sgemm"),
         InstanceMethod<&Device::gemmEx>("gemmEx"), InstanceMethod<&Device::gemmStridedBatched>("gemmStridedBatched"),
         InstanceMethod<&Device::ltMatmul>("ltMatmul"), InstanceMethod<&Device::tune>("tune"),
         InstanceMethod<&Device::synchronize>("synchronize"), InstanceMethod<&Device::close>("close"),
         InstanceAccessor<&Device::name>("name"), InstanceAccessor<&Device::capability>("capability"),
         InstanceAccessor<&Device::bytes>("bytes")});
  }
  // new Device({ device, workspaceBytes }), after load() has found the libraries
  explicit Device(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Device>(info) {
    const Fields fields(info[0], "open");
    const int64_t ordinal = fields.integer("device", 0, 0);
    const int64_t workspace = fields.integer("workspaceBytes", 0, 32 << 20);
    guarded(info.Env(), [&] {
      loadedWithDriver();
      session_ = std::make_shared<Session>(static_cast<int>(std::min<int64_t>(ordinal, INT32_MAX)),
                                           static_cast<size_t>(workspace));
    });
  }

 private:
  Napi::Value name(const Napi::CallbackInfo &info) { return Napi::String::New(info.Env(), session_->device); }
  Napi::Value capability(const Napi::CallbackInfo &info) { return Napi::Number::New(info.Env(), session_->capability); }
  Napi::Value bytes(const Napi::CallbackInfo &info) {
    return Napi::Number::New(info.Env(), static_cast<double>(session_->bytes));
  }
  Napi::Value alloc(const Napi::CallbackInfo &info) {
    auto options = Napi::Object::New(info.Env());
    options["bytes"] = info[0];
    const auto bytes = static_cast<size_t>(Fields(options, "alloc").integer("bytes"));
    return guarded(info.Env(), [&]() -> Napi::Value {
      session_->queue();
      const auto object = info.Env().GetInstanceData<Classes>()->buffer.New({});
      Buffer::Unwrap(object)->take(session_, bytes);
      return object;
    });
  }
  void synchronize(const Napi::CallbackInfo &info) {
    guarded(info.Env(), [&] { session_->synchronize(); });
  }
  void close(const Napi::CallbackInfo &info) {
    guarded(info.Env(), [&] { session_->close(); });
  }

  // The memory of a field, from `offset` elements on; its end is checked against what the call touches.
  std::optional<Place> place(const Fields &fields, const std::string &name, int64_t elements, size_t size,
                             bool optional = false) {
    const Napi::Value value = fields.get(name.c_str());
    const auto &constructor = Env().GetInstanceData<Classes>()->buffer.Value();
    if (optional && value.IsUndefined()) return std::nullopt;
    if (!value.IsObject() || !value.As<Napi::Object>().InstanceOf(constructor)) {
      fields.fail("memory of alloc()", name, value);
    }
    Buffer *buffer = Buffer::Unwrap(value.As<Napi::Object>());
    char *start = buffer->address();
    if (buffer->session() != session_.get()) fields.refuse(name + " is memory of another device");
    std::string offsetName = "offset" + name;
    offsetName[6] = static_cast<char>(std::toupper(offsetName[6]));
    const int64_t offset = fields.integer(offsetName.c_str(), 0, 0);
    const auto room = static_cast<int64_t>(buffer->size() / size);
    if (offset > room || elements > room - offset) {
      fields.refuse(name + " needs " + std::to_string(elements) + " elements of " + std::to_string(size) +
                    " bytes from " + offsetName + " = " + std::to_string(offset) + ", its memory holds " +
                    std::to_string(room));
    }
    return Place{start + offset * static_cast<int64_t>(size), static_cast<size_t>(elements) * size};
  }

  struct Call {
    Product product{};
    Place a, b, c;
    size_t sizeC = 4;
  };

  Call read(const Fields &fields, bool typed, bool batched) {
    Call call;
    Product &p = call.product;
    GlGemm &g = p.g;
    g.m = fields.integer("m"), g.n = fields.integer("n"), g.k = fields.integer("k");
    g.transposeA = fields.flag("transposeA"), g.transposeB = fields.flag("transposeB");
    const int64_t rowsA = g.transposeA ? g.k : g.m, columnsA = g.transposeA ? g.m : g.k;
    const int64_t rowsB = g.transposeB ? g.n : g.k, columnsB = g.transposeB ? g.k : g.n;
    g.lda = fields.integer("lda", 1, columnsA);
    g.ldb = fields.integer("ldb", 1, columnsB);
    g.ldc = fields.integer("ldc", 1, g.n);
    p.alpha = fields.number("alpha", 1), p.beta = fields.number("beta", 0);
    g.alpha = static_cast<float>(p.alpha), g.beta = static_cast<float>(p.beta);
    g.batch = 1;
    if (typed) {
      p.typeAB = kTypes[fields.choice("type", kTypeNames)];
      p.typeC = fields.has("typeC") ? kTypes[fields.choice("typeC", kTypeNames)] : p.typeAB;
      g.numerics = static_cast<int32_t>(fields.choice("numerics", {"fp32", "tf32", "bf16"}));
    }
    checkProduct(p);  // sizes that are an int, before they are multiplied
    if (batched) {
      g.batch = fields.integer("batch");
      g.strideA = fields.integer("strideA", 0, rowsA * g.lda);
      g.strideB = fields.integer("strideB", 0, rowsB * g.ldb);
      g.strideC = fields.integer("strideC", 0, g.m * g.ldc);
      checkProduct(p);
    }
    const size_t size = sizeOfType(p.typeAB);
    call.sizeC = sizeOfType(p.typeC);
    call.a = *place(fields, "a", spanOf(rowsA, columnsA, g.lda, g.strideA, g.batch), size);
    call.b = *place(fields, "b", spanOf(rowsB, columnsB, g.ldb, g.strideB, g.batch), size);
    call.c = *place(fields, "c", spanOf(g.m, g.n, g.ldc, g.strideC, g.batch), call.sizeC);
    if (call.c.overlaps(call.a) || call.c.overlaps(call.b)) fields.refuse("c lies on the memory of an operand");
    g.a = call.a.from, g.b = call.b.from, g.c = call.c.from;
    return call;
  }

  void sgemm(const Napi::CallbackInfo &info) {
    guarded(info.Env(), [&] {
      Queue &queue = session_->queue();
      cublas::sgemm(queue, read(Fields(info[0], "sgemm"), false, false).product.g);
    });
  }
  void gemmEx(const Napi::CallbackInfo &info) {
    guarded(info.Env(), [&] { gemm(session_->queue(), read(Fields(info[0], "gemmEx"), true, false).product); });
  }
  void gemmStridedBatched(const Napi::CallbackInfo &info) {
    guarded(info.Env(),
            [&] { gemm(session_->queue(), read(Fields(info[0], "gemmStridedBatched"), true, true).product); });
  }

  struct LtCall {
    Call call;
    GlPlanOptions options{};
    GlOperands operands{};
  };
  LtCall readLt(const Fields &fields) {
    LtCall lt{read(fields, true, fields.has("batch"))};
    const GlGemm &g = lt.call.product.g;
    std::vector<const char *> names;
    for (int i = 0; i < kEpilogues; i++) names.push_back(epilogueKind(i).name);
    GlPlanOptions &o = lt.options;
    o.epilogue = fields.choice("epilogue", names);
    const EpilogueKind &kind = epilogueKind(o.epilogue);
    o.algorithm = static_cast<int32_t>(std::min<int64_t>(fields.integer("algorithm", 0, -1), INT32_MAX));
    o.workspaceLimit = session_->queue().workspaceBytes;
    const int64_t multiple = kind.aux == 'm' ? kMaskLdMultiple : kGeluInputLdMultiple;
    if (kind.aux) o.auxStride = fields.integer("auxStride", 1, (g.n + multiple - 1) / multiple * multiple);
    lt.operands = {g.a, g.b, g.c, nullptr, nullptr};
    std::vector<Place> others = {lt.call.a, lt.call.b};
    const auto extra = [&](const char *name, int64_t elements, size_t size, bool output) {
      const Place at = *place(fields, name, elements, size);
      if (at.overlaps(lt.call.c)) fields.refuse(std::string(name) + " lies on the memory of c");
      for (const Place &other : others) {
        if (output && at.overlaps(other)) fields.refuse(std::string(name) + " lies on the memory of an operand");
      }
      others.push_back(at);
      return at.from;
    };
    if (kind.aux) {
      const auto bytes = static_cast<int64_t>(auxBytes(kind, g, o.auxStride, lt.call.product.typeC));
      const size_t size = kind.aux == 'm' ? 1 : lt.call.sizeC;
      lt.operands.aux = extra("aux", bytes / static_cast<int64_t>(size), size, kind.auxOutput);
    }
    if (kind.vector) {
      lt.operands.vector = extra("vector", kind.vector == 'm' ? g.m : g.n, lt.call.sizeC, kind.vectorOutput);
    }
    return lt;
  }

  static Napi::Value describe(Napi::Env env, Plan &plan) {
    const GlPlanInfo info = plan.info();
    auto result = Napi::Object::New(env);
    result["workspaceBytes"] = Napi::Number::New(env, static_cast<double>(info.workspaceBytes));
    result["measured"] = Napi::Boolean::New(env, info.measured != 0);
    result["candidates"] = Napi::Number::New(env, info.candidates);
    return result;
  }
  Napi::Value ltMatmul(const Napi::CallbackInfo &info) {
    return guarded(info.Env(), [&] {
      Queue &queue = session_->queue();
      const LtCall lt = readLt(Fields(info[0], "ltMatmul"));
      Plan plan(queue, lt.call.product, lt.options);
      plan.run(lt.operands);
      return describe(info.Env(), plan);
    });
  }
  Napi::Value tune(const Napi::CallbackInfo &info) {
    return guarded(info.Env(), [&] {
      Queue &queue = session_->queue();
      const Fields fields(info[0], "tune");
      const LtCall lt = readLt(fields);
      const GlGemm &g = lt.call.product.g;
      const EpilogueKind &kind = epilogueKind(lt.options.epilogue);
      GlTune how{};
      how.expectedC = place(fields, "expected", spanOf(g.m, g.n, g.ldc, g.strideC, g.batch), lt.call.sizeC)->from;
      const auto vector = place(fields, "expectedVector", kind.vector == 'm' ? g.m : g.n, lt.call.sizeC, true);
      if (vector) how.expectedVector = vector->from;
      how.tolerance = static_cast<float>(fields.number("tolerance", g.numerics == GL_BLAS_FP32 ? 1e-5 : 1e-2));
      how.candidates = static_cast<int32_t>(std::min<int64_t>(fields.integer("candidates", 0, 0), INT32_MAX));
      how.repetitions = static_cast<int32_t>(std::min<int64_t>(fields.integer("repetitions", 0, 0), 1000));
      const std::unique_ptr<Plan> plan(cublas::tune(queue, lt.call.product, lt.options, lt.operands, how));
      return describe(info.Env(), *plan);
    });
  }

  std::shared_ptr<Session> session_;
};

// load(folder?: string) -> { found, version?, ltVersion?, path?, driver?, error? }
Napi::Value loadFromJs(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  auto options = Napi::Object::New(env);
  options["folder"] = info[0];
  std::string error;
  const Library *lib = load(Fields(options, "load").text("folder"), error);
  auto result = Napi::Object::New(env);
  result["found"] = Napi::Boolean::New(env, lib != nullptr);
  if (!lib) {
    result["error"] = Napi::String::New(env, error);
    return result;
  }
  const int *v = lib->version;
  result["version"] =
      Napi::String::New(env, std::to_string(v[0]) + "." + std::to_string(v[1]) + "." + std::to_string(v[2]));
  result["ltVersion"] = Napi::Number::New(env, static_cast<double>(lib->ltVersion));
  result["path"] = Napi::String::New(env, lib->path);
  if (!lib->hasDriver) result["driverError"] = Napi::String::New(env, lib->driverError);
  return result;
}

// cache(path?: string) -> what of the file is ignored, or ''
Napi::Value cacheFromJs(const Napi::CallbackInfo &info) {
  auto options = Napi::Object::New(info.Env());
  options["path"] = info[0];
  const std::string path = Fields(options, "cache").text("path");
  return guarded(info.Env(), [&] { return Napi::String::New(info.Env(), setCacheFile(path)); });
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  const napi_type_tag tag = GL_BLAS_TAG;
  auto provider = Napi::External<GlBlas>::New(env, const_cast<GlBlas *>(&table()));
  provider.TypeTag(&tag);
  auto classes = new Classes;
  const auto device = Device::define(env), buffer = Buffer::define(env);
  classes->device = Napi::Persistent(device);
  classes->buffer = Napi::Persistent(buffer);
  env.SetInstanceData(classes);
  exports["load"] = Napi::Function::New(env, loadFromJs, "load");
  exports["cache"] = Napi::Function::New(env, cacheFromJs, "cache");
  exports["Device"] = device;
  exports["provider"] = provider;
  return exports;
}

NODE_API_MODULE(gradline_cublas, init)

}  // namespace
}  // namespace gradline::cublas
