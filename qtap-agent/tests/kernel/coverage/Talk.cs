// HTTPS with .NET: `ask VERSION PLAN`, `serve FOLDER PORT`; plans as in talk.py.
using System;
using System.IO;
using System.Linq;
using System.Net.Http;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

static class Talk
{
    static Task Main(string[] words) => words[0] == "ask" ? Ask(words[1], words[2]) : Serve(words[1], int.Parse(words[2]));

    static async Task Ask(string version, string plan)
    {
        var handler = new SocketsHttpHandler();
        handler.SslOptions.RemoteCertificateValidationCallback = (sender, certificate, chain, errors) => true;
        using var client = new HttpClient(handler);
        foreach (var line in File.ReadAllLines(plan))
        {
            var words = line.Split(' ');
            var request = new HttpRequestMessage(new HttpMethod(words[0]), words[1]);
            request.Version = new Version(version == "2" ? "2.0" : version);
            if (words.Length > 2) request.Content = new ByteArrayContent(File.ReadAllBytes(words[2]));
            var answer = await client.SendAsync(request);
            answer.EnsureSuccessStatusCode();
            if (answer.Version != request.Version) throw new Exception($"HTTP/{answer.Version}");
            await answer.Content.ReadAsByteArrayAsync();
        }
    }

    static Task Serve(string folder, int port)
    {
        var key = ECDsa.Create();
        key.ImportPkcs8PrivateKey(Pem(folder + "/key.pem"), out _);
        var certificate = new X509Certificate2(folder + "/cert.pem").CopyWithPrivateKey(key);
        void Listen(ListenOptions options)
        {
            options.Protocols = HttpProtocols.Http1AndHttp2;
            options.UseHttps(certificate);
        }
        async Task Answer(HttpContext context)
        {
            await context.Request.Body.CopyToAsync(Stream.Null);
            if (context.Request.Method != "GET")
            {
                context.Response.StatusCode = 201;
                return;
            }
            var body = File.ReadAllBytes(folder + "/" + context.Request.Path.Value.Split('/').Last());
            context.Response.ContentLength = body.Length;
            await context.Response.Body.WriteAsync(body, 0, body.Length);
        }
        var host = Host.CreateDefaultBuilder().ConfigureLogging(logging => logging.ClearProviders());
        host.ConfigureWebHost(web => web.UseKestrel(kestrel => kestrel.ListenLocalhost(port, Listen)).Configure(app => app.Run(Answer)));
        return host.Build().RunAsync();
    }

    static byte[] Pem(string file) => Convert.FromBase64String(string.Concat(File.ReadLines(file).Where(line => !line.StartsWith('-'))));
}
